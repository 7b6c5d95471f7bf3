"""Metrics against truths made by hand."""

import math
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.evaluation import count_metrics, match_objects, rotation_error, scene_metrics, to_json
from air3d.geometry import rigid_transform, yaw_rotation
from air3d.scene import (
    ABSENT,
    Mesh,
    SceneSpec,
    SymmetryGroup,
    known_view,
    load_scene,
    upright_scenes,
)

SINGLE = load_scene(ROOT / "scenes" / "single_object.yaml")
assert isinstance(SINGLE, SceneSpec)
VIEW = known_view(SINGLE)
CUBE, BALL, CYLINDER = range(3)
about_z = SymmetryGroup.about_z
ANGLES = st.floats(-10.0, 10.0)


def _mesh(name, yaw_symmetry, diameter):
    rows = torch.zeros(3, 3)
    faces = torch.tensor([[0, 1, 2]])
    return Mesh(name, rows, faces, rows, rows, yaw_symmetry, diameter, Path(name))


MESHES = (_mesh("cube", 4, 0.5), _mesh("ball", "continuous", 0.4), _mesh("cylinder", 1, 0.25))


def _pose(x=0.0, y=0.0, yaw=0.0):
    return rigid_transform(yaw_rotation(torch.tensor(float(yaw))), torch.tensor([x, y, 0.1]))


def _truth(*images):
    """Scenes from lists of (identity, x, y, yaw)."""
    size = max(len(image) for image in images)
    padded = [list(image) + [(ABSENT, 0.0, 0.0, 0.0)] * (size - len(image)) for image in images]
    values = torch.tensor(padded, dtype=torch.float32).reshape(len(images), size, 4)
    height = torch.full_like(values[..., :1], 0.1)
    position = torch.cat([values[..., 1:3], height], dim=-1)
    identity, view = values[..., 0].long(), vars(VIEW)
    return upright_scenes(identity, position, values[..., 3], **view)


def _estimate(*objects):
    found = tuple(
        ObjectEstimate(
            MESHES[i].name, i, 1.0, 1.0, _pose(x, y, yaw), 1.0, torch.ones(3), torch.zeros(2, 2)
        )
        for i, x, y, yaw in objects
    )
    image = torch.zeros(3, 4, 4)
    return SceneEstimate(len(found), (1.0,), found, None, None, image, 0.0)


def _turn(yaw):
    return yaw_rotation(torch.tensor(float(yaw), dtype=torch.float64))


TILT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]], dtype=torch.float64)


def test_a_quarter_turn_is_none_for_a_cube_and_one_for_a_cylinder():
    quarter, none = _turn(math.pi / 2), torch.eye(3)
    assert rotation_error(quarter, none, about_z(4)) == pytest.approx(0.0, abs=1e-7)
    assert rotation_error(quarter, none, about_z(1)) == pytest.approx(math.pi / 2, abs=1e-7)
    assert rotation_error(quarter, none, about_z("continuous")) == pytest.approx(0.0, abs=1e-7)


@given(ANGLES, ANGLES, st.sampled_from([1, 2, 3, 4, 6]), st.integers(-5, 5))
def test_the_error_of_a_yaw_is_the_distance_on_a_circle(a, b, fold, turns):
    error = rotation_error(_turn(a), _turn(b), about_z(fold))
    assert error == pytest.approx(abs(math.remainder(a - b, 2 * math.pi / fold)), abs=1e-7)
    turned = _turn(a + turns * 2 * math.pi / fold)
    assert rotation_error(turned, _turn(b), about_z(fold)) == pytest.approx(error, abs=1e-7)


@given(ANGLES, ANGLES, st.sampled_from([1, 2, 3, 6]))
def test_the_error_is_the_least_over_all_twins(a, b, fold):
    """Of a tilted object too, and whichever of the two is called the truth."""
    one, other = _turn(a) @ TILT @ _turn(b), _turn(b) @ TILT
    twins = [other @ _turn(2 * math.pi * i / fold) for i in range(fold)]
    least = min(rotation_error(one, twin, about_z(1)) for twin in twins)
    assert rotation_error(one, other, about_z(fold)) == pytest.approx(least, abs=1e-6)
    assert rotation_error(other, one, about_z(fold)) == pytest.approx(least, abs=1e-6)


def test_a_tilt_is_an_error_whatever_the_symmetry():
    angle = math.atan2(0.6, 0.8)
    for symmetry in (1, 4, "continuous"):
        group = about_z(symmetry)
        assert rotation_error(TILT, torch.eye(3), group) == pytest.approx(angle, abs=1e-7)
        assert rotation_error(_turn(0.7) @ TILT, _turn(0.7), group) == pytest.approx(angle)


def test_objects_are_matched_in_any_order():
    true = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    order = torch.tensor([2, 0, 1])
    matches = match_objects(true[order] + 0.1, true)
    assert {(match.estimated, match.true) for match in matches} == {(0, 2), (1, 0), (2, 1)}


def test_matching_minimises_the_sum_and_not_each_distance():
    """The nearest true object of both estimates is the same; one of them must give way."""
    matches = match_objects(
        torch.tensor([[0.4, 0.0, 0.0], [0.6, 0.0, 0.0]]),
        torch.tensor([[0.5, 0.0, 0.0], [1.5, 0.0, 0.0]]),
    )
    assert {(match.estimated, match.true) for match in matches} == {(0, 0), (1, 1)}


def test_the_truth_itself_is_without_error():
    objects = [(CUBE, 0.1, 0.2, 0.3), (BALL, -0.2, 0.0, 1.0), (CYLINDER, 0.4, -0.4, 2.0)]
    metrics = scene_metrics([_estimate(*reversed(objects))], _truth(objects), MESHES)
    assert metrics.all_right == metrics.identity_accuracy == metrics.count.accuracy == 1.0
    assert metrics.position_metres.mean == pytest.approx(0.0, abs=1e-6)
    assert metrics.rotation_degrees.number == 2, "the ball has no yaw to be right or wrong"
    assert metrics.rotation_degrees.mean == pytest.approx(0.0, abs=1e-3)
    assert [kind.objects for kind in metrics.per_type] == [1, 1, 1]
    assert metrics.per_type[BALL].rotation_degrees is None


def test_positions_are_measured_in_the_true_objects_diameters():
    truth = _truth([(CUBE, 0.0, 0.0, 0.0)], [(CYLINDER, 0.0, 0.0, 0.0)])
    estimates = [_estimate((CUBE, 0.03, 0.04, 0.0)), _estimate((CYLINDER, 0.0, 0.1, 0.0))]
    metrics = scene_metrics(estimates, truth, MESHES)
    assert metrics.position_metres.mean == pytest.approx(0.075, rel=1e-4)
    assert metrics.position_in_diameters.mean == pytest.approx((0.1 + 0.4) / 2, rel=1e-4)
    assert metrics.per_type[CYLINDER].position_in_diameters.median == pytest.approx(0.4, rel=1e-4)


def test_missed_and_surplus_objects_are_counted():
    truth = _truth([(CUBE, 0.0, 0.0, 0.0), (BALL, 1.0, 0.0, 0.0)], [(CUBE, 0.0, 0.0, 0.0)], [])
    estimates = [
        _estimate((BALL, 1.0, 0.0, 0.0)),
        _estimate((CUBE, 0.0, 0.0, 0.0), (CUBE, 2.0, 0.0, 0.0)),
        _estimate(),
    ]
    metrics = scene_metrics(estimates, truth, MESHES)
    assert (metrics.objects, metrics.matched) == (3, 2)
    assert (metrics.missed, metrics.surplus) == (1, 1)
    assert metrics.identity_accuracy == 1.0
    assert metrics.all_right == pytest.approx(1 / 3), "only the empty image is all right"
    assert metrics.count.confusion == ((1, 0, 0), (0, 0, 1), (0, 1, 0))


def test_a_wrong_identity_has_a_position_but_no_yaw():
    truth = _truth([(CYLINDER, 0.0, 0.0, 0.0)])
    metrics = scene_metrics([_estimate((CUBE, 0.0, 0.0, 1.0))], truth, MESHES)
    assert metrics.identity_accuracy == 0.0
    assert metrics.position_metres.number == 1
    assert metrics.rotation_degrees.number == 0 and metrics.rotation_degrees.median is None
    assert metrics.all_right == 0.0


@pytest.mark.parametrize(
    ("shift", "yaw", "right", "turned"),
    [(0.02, 0.1, 1.0, 1.0), (0.03, 0.1, 0.0, 0.0), (0.02, 0.2, 1.0, 0.0)],
)
def test_all_right_has_a_limit_of_position_and_a_stricter_figure_one_of_rotation(
    shift, yaw, right, turned
):
    truth = _truth([(CYLINDER, 0.0, 0.0, 0.0)])
    metrics = scene_metrics([_estimate((CYLINDER, shift, 0.0, yaw))], truth, MESHES)
    assert (metrics.all_right, metrics.all_right_and_turned) == (right, turned)
    assert metrics.rotation_degrees.share_bad == float(yaw > math.radians(10.0))


def test_counts_are_compared_image_by_image():
    metrics = count_metrics(estimated=[0, 1, 2, 1, 3], true=[0, 1, 1, 3, 3])
    assert metrics.accuracy == pytest.approx(3 / 5)
    assert metrics.per_count == (1.0, 0.5, None, 0.5)
    assert metrics.confusion == ((1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 0, 0), (0, 1, 0, 1))
    assert sum(map(sum, metrics.confusion)) == metrics.images == 5


@pytest.mark.parametrize(("estimated", "true"), [([], []), ([1], [1, 2])])
def test_counts_need_one_estimate_per_image(estimated, true):
    with pytest.raises(ValueError, match="image"):
        count_metrics(estimated, true)


def test_json_has_the_fields_names_and_no_nan():
    content = to_json(scene_metrics([_estimate()], _truth([(CUBE, 0.0, 0.0, 0.0)]), MESHES))
    assert content["position_in_diameters"] == {"number": 0, "median": None, "mean": None}
    assert content["per_type"][0]["name"] == "cube"
    assert content["count"]["confusion"] == ((0, 0), (1, 0))
