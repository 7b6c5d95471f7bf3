"""Scenes whose objects turn freely, from the scene file to the figures of a test."""

import dataclasses
import json
import math

import pytest
import torch
from conftest import ROOT
from evaluation_cases import say_the_truth
from model_cases import SMALL, check_taught_as_drawn

from air3d.data import SceneStream
from air3d.data.bop import BopPlan, write_bop
from air3d.evaluation import (
    average_distances,
    detection_metrics,
    judge,
    load_test_set,
    scene_metrics,
)
from air3d.evaluation.surfaces import symmetric_turns
from air3d.geometry import angle_of, angles_of, from_target, rotation_of
from air3d.inference import Effort, infer
from air3d.inspection.records import make_record
from air3d.inspection.turns import turn_text
from air3d.models import build_air
from air3d.models.decoders import SceneDecoder
from air3d.models.guide import Observation
from air3d.objectives import count_log_prior
from air3d.scene import FREE_VOLUME, ScenePrior, SceneSpec, ViewPrior, load_assets, load_scene

SMALL_AND_FREE = dataclasses.replace(SMALL, rotation_bins=24)


def _spec() -> SceneSpec:
    spec = load_scene(ROOT / "scenes" / "single_object_so3.yaml")
    assert isinstance(spec, SceneSpec)
    return spec


SPEC = _spec()
MESHES = load_assets(SPEC)
CUBE, BALL, CYLINDER = range(3)


@pytest.fixture(scope="module")
def prior() -> ScenePrior:
    return ScenePrior(SPEC, MESHES)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_air(SPEC, SMALL_AND_FREE, MESHES)


@pytest.fixture(scope="module")
def batch():
    return SceneStream(SPEC, batch=12, seed=0).batch(0)


def test_rotations_are_uniform_and_nothing_reaches_through_the_plane(prior):
    scenes = prior.sample(4000, torch.Generator().manual_seed(0))
    angle = angle_of(scenes.rotation[:, 0]).sort().values
    gap = (angle - angle.sin()) / math.pi - torch.arange(4000) / 4000
    assert float(gap.abs().max()) < 2.2 / math.sqrt(4000)
    for row in range(50):
        mesh = MESHES[int(scenes.identity[row, 0])]
        lowest = (mesh.vertices @ scenes.rotation[row, 0].T)[:, 2].min()
        assert float(scenes.position[row, 0, 2] + lowest) > -1e-6


def test_the_density_of_a_pose_is_that_of_a_place_and_all_rotations(prior):
    area = float((prior.xy.high - prior.xy.low).prod())
    inside = float(prior.log_prob_pose(torch.zeros(3)))
    assert math.exp(inside) * area * FREE_VOLUME == pytest.approx(1.0)


def test_only_the_cameras_distance_is_open():
    view = ViewPrior(SPEC)
    assert [unknown.name for unknown in view.unknowns] == ["camera_distance"]
    distance = torch.tensor([[2.5], [3.1], [4.0]])
    drawn = view.view(distance)
    torch.testing.assert_close(view.coordinates(drawn), distance)
    eye = from_target(drawn.camera.world_to_camera, torch.tensor(SPEC.camera.target))
    for angle, known in zip(angles_of(eye), (-1.5708, 0.6), strict=True):
        torch.testing.assert_close(angle, torch.full((3,), known))


def test_taught_and_drawn_densities_agree(model):
    torch.manual_seed(4)
    head = model.guide.head
    images, state = torch.rand(6, 3, 64, 64), torch.randn(6, 32)
    encoded = model.guide.encoder(images)
    seen = model.guide.viewer.sample(encoded.features)
    observation = Observation(images, seen)
    look = head.look(encoded.map, torch.zeros_like(images), state)
    # One component of the search: all agree on where the glimpse is read.
    look.search.log_weight.data[:, 1:] = -100.0
    check_taught_as_drawn(head, observation, look)


def test_sleep_and_wake_train_every_weight(model, batch):
    for value in (
        model.sleep(batch.images, batch.scenes).value,
        model.elbo(batch.images, count_log_prior(SPEC.count, 1)).value,
    ):
        model.zero_grad()
        assert torch.isfinite(value).all()
        (-value.mean()).backward()
        without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
        # With one step the recurrent weights meet nothing but zeros.
        assert without <= {"guide.cell.weight_hh"}


def test_an_unseen_turn_costs_nothing(model, batch):
    """A ball's rotation has its prior's density, so that it adds nothing to the KL."""
    head = model.guide.head
    raw = torch.randn(4, 3, head.rotations.size)
    density = head.rotations.density(raw, torch.eye(3).expand(4, 3, 3))
    drawn = density.log_prob(density.rsample())[:, BALL]
    torch.testing.assert_close(drawn, torch.full((4,), head.prior.rotation.log_density))


def test_an_untrained_guide_and_refinement_find_rotations(model, batch):
    before = infer(model, batch.images)
    after = infer(model, batch.images, effort=Effort(refine_steps=4))
    for one, two in zip(before, after, strict=True):
        assert two.log_likelihood >= one.log_likelihood
        rotation = two.objects[0].object_to_world[:3, :3]
        torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-4, rtol=0)
        assert one.camera is not None and two.camera is not None


def _turned(scenes, vector: tuple[float, float, float]):
    """Return estimates that are right but for a turn of each object about its own axes."""
    turned = scenes.rotation @ rotation_of(torch.tensor(vector))
    return say_the_truth(type(scenes)(**(vars(scenes) | {"rotation": turned})), MESHES)


def test_hidden_turns_are_no_errors_and_others_are(batch):
    scenes = batch.scenes
    quarter = _turned(scenes, (0.0, 0.5 * math.pi, 0.0))
    metrics = scene_metrics(quarter, scenes, MESHES)
    cube, ball, cylinder = metrics.per_type
    assert cube.rotation_degrees.mean == pytest.approx(0.0, abs=0.05)
    assert ball.rotation_degrees is None
    assert cylinder.rotation_degrees.mean == pytest.approx(90.0, abs=0.05)
    precise = detection_metrics(quarter, scenes, MESHES).per_type
    assert [kind.bop24.mssd == 1.0 for kind in precise] == [True, True, False]
    distances = average_distances(quarter, scenes, MESHES, judge(quarter, scenes, MESHES))
    assert 0.0 < distances.add_or_s.recall < 1.0


def test_turns_of_free_meshes_are_as_many_as_their_groups_have():
    assert [len(symmetric_turns(mesh)) for mesh in MESHES] == [24, 1, 1]


def test_a_rendered_data_set_is_read_with_its_rotations(tmp_path):
    write_bop(tmp_path / "data", BopPlan(SPEC, count=3, seed=0))
    read = load_test_set(tmp_path / "data", SPEC, MESHES)
    assert read.scenes is not None and len(read) == 3
    again = SceneDecoder(SPEC, MESHES).image(read.scenes)
    off = (again - read.images).square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(off, torch.full((3,), SPEC.noise_std), atol=1e-3, rtol=0)


def test_results_say_about_which_axis_an_object_is_turned(batch):
    scenes = batch.scenes
    for row, estimate in enumerate(say_the_truth(scenes, MESHES)):
        found = estimate.objects[0]
        record = make_record(
            estimate, MESHES, image="a.png", spec=SPEC, checkpoint="c", effort=Effort()
        )
        content = json.loads(record.to_json())["objects"][0]
        assert content["yaw"] is None
        ball = int(scenes.identity[row, 0]) == BALL
        assert content["yaw_symmetry"] == ("continuous" if ball else None)
        text = turn_text(found.object_to_world, MESHES[found.identity])
        angle = math.degrees(float(angle_of(scenes.rotation[row, 0])))
        assert text == "any" if ball else text.startswith(f"{angle:.1f} deg about (")
