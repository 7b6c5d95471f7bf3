"""Cameras, lights, scales and colours against the truth; and figures of parts of a test set."""

import dataclasses
import math

import pytest
import torch
from conftest import ROOT
from evaluation_cases import CROCKERY, TABLE, say_the_truth, table_scenes

from air3d.evaluation import judge, open_numbers, scene_metrics, split
from air3d.geometry import from_target, orbit
from air3d.scene import load_scene

SCENES = table_scenes(24)
OPEN = open_numbers(TABLE)


def _changed(estimate, **changes):
    """Change every object of an estimate."""
    objects = tuple(
        dataclasses.replace(
            thing, **{name: change(getattr(thing, name)) for name, change in changes.items()}
        )
        for thing in estimate.objects
    )
    return dataclasses.replace(estimate, objects=objects)


def _round_the_table(camera, azimuth, elevation):
    """Move a camera on its orbit by two angles."""
    target = torch.tensor(TABLE.camera.target)
    eye = from_target(camera.world_to_camera, target)
    distance = eye.norm(dim=1)
    old_azimuth, old_elevation = torch.atan2(eye[:, 1], eye[:, 0]), torch.asin(eye[:, 2] / distance)
    moved = orbit(old_azimuth + azimuth, old_elevation + elevation, distance, target)
    return dataclasses.replace(camera, world_to_camera=moved)


def test_the_truth_itself_is_without_error():
    metrics = scene_metrics(say_the_truth(SCENES), SCENES, CROCKERY, OPEN)
    assert metrics.camera is not None and metrics.light is not None
    assert metrics.scale is not None and metrics.colour is not None
    errors = [
        *vars(metrics.camera).values(),
        *vars(metrics.light).values(),
        metrics.scale,
        metrics.colour,
        metrics.rotation_degrees,
        metrics.position_metres,
    ]
    assert max(error.mean for error in errors) < 1e-4
    assert metrics.camera.eye_metres.number == 24
    assert metrics.all_right == metrics.all_right_and_turned == 1.0


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.2, 0.0), (-0.2, 0.1), (2 * math.pi, -0.1)])
def test_a_camera_is_off_by_the_angles_it_was_moved_by(azimuth, elevation):
    moved = [
        dataclasses.replace(said, camera=_round_the_table(said.camera, azimuth, elevation))
        for said in say_the_truth(SCENES)
    ]
    camera = scene_metrics(moved, SCENES, CROCKERY, OPEN).camera
    assert camera is not None
    turned = abs(math.degrees(math.remainder(azimuth, 2 * math.pi)))
    assert camera.azimuth_degrees.median == pytest.approx(turned, abs=1e-2)
    assert camera.elevation_degrees.mean == pytest.approx(math.degrees(abs(elevation)), abs=1e-2)
    eye = from_target(SCENES.camera.world_to_camera, torch.tensor(TABLE.camera.target))
    if azimuth == 2 * math.pi:
        chord = 2 * eye.norm(dim=1) * math.sin(abs(elevation) / 2)
        assert camera.eye_metres.mean == pytest.approx(float(chord.mean()), rel=1e-3)


def test_a_light_is_off_by_the_angle_between_the_directions():
    def turned(light):
        source = light.source.clone()
        source[:, :2] = -source[:, :2]
        return dataclasses.replace(light, source=3 * source, ambient=light.ambient + 0.1)

    wrong = [dataclasses.replace(e, light=turned(e.light)) for e in say_the_truth(SCENES)]
    light = scene_metrics(wrong, SCENES, CROCKERY, OPEN).light
    assert light is not None
    across = torch.atan2(SCENES.light.source[:, :2].norm(dim=1), SCENES.light.source[:, 2])
    expected = float((2 * across).rad2deg().mean())
    assert light.direction_degrees.mean == pytest.approx(expected, rel=1e-4)
    assert light.ambient.mean == pytest.approx(0.1, abs=1e-5) and light.diffuse.mean == 0.0


def test_scale_and_colour_are_compared_object_by_object():
    wrong = [
        _changed(e, scale=lambda s: 1.1 * s, colour=lambda c: c + torch.tensor([0.3, 0.0, 0.0]))
        for e in say_the_truth(SCENES)
    ]
    metrics = scene_metrics(wrong, SCENES, CROCKERY, OPEN)
    assert metrics.scale is not None and metrics.scale.median == pytest.approx(0.1, abs=1e-5)
    assert metrics.colour is not None and metrics.colour.median == pytest.approx(0.1, abs=1e-5)


def test_diameters_are_those_of_the_scaled_object():
    shift = torch.zeros(4, 4)
    shift[0, 3] = 0.03
    moved = [_changed(e, object_to_world=lambda pose: pose + shift) for e in say_the_truth(SCENES)]
    for row, image in enumerate(judge(moved, SCENES, CROCKERY)):
        for pair in image.pairs:
            diameter = CROCKERY[pair.identity].diameter * float(SCENES.scale[row, pair.true])
            assert pair.metres / pair.diameters == pytest.approx(diameter, rel=1e-5)


def test_what_is_known_has_no_error():
    single = load_scene(ROOT / "scenes" / "single_object.yaml")
    assert open_numbers(single) == frozenset()
    assert {"scale", "colour", "camera_azimuth", "light_ambient"} < OPEN
    metrics = scene_metrics(say_the_truth(SCENES), SCENES, CROCKERY)
    assert metrics.camera is metrics.light is metrics.scale is metrics.colour is None


def test_an_open_camera_needs_an_estimate():
    blind = [dataclasses.replace(e, camera=None) for e in say_the_truth(SCENES)]
    with pytest.raises(ValueError, match="has no camera"):
        scene_metrics(blind, SCENES, CROCKERY, OPEN)


def test_groups_make_up_the_whole():
    estimates = list(say_the_truth(SCENES))
    estimates[0] = dataclasses.replace(estimates[0], objects=estimates[0].objects[:-1])
    judged = judge(estimates, SCENES, CROCKERY)
    visible = [tuple(0.3 + 0.2 * i for i in range(len(image.identities))) for image in judged]
    parts = split(judged, visible)
    assert sum(group.images for group in parts.by_count) == 24
    assert sum(group.images for group in parts.by_repeats) == 24
    assert [group.images for group in parts.by_count] == [
        int((SCENES.count == n).sum()) for n in range(len(parts.by_count))
    ]
    assert parts.by_occlusion is not None
    assert sum(group.objects for group in parts.by_occlusion) == int(SCENES.count.sum())
    assert parts.by_occlusion[2].objects == sum(len(image.identities) > 0 for image in judged)
    wrong = [group for group in parts.by_count if group.all_right not in (None, 1.0)]
    assert [group.name for group in wrong] == [str(int(SCENES.count[0]))]


def test_repeats_are_kinds_shown_twice():
    twice = table_scenes(200, seed=3)
    judged = judge(say_the_truth(twice), twice, CROCKERY)
    for image in judged:
        assert image.repeats == (len(set(image.identities)) < len(image.identities))
    parts = split(judged)
    none, some = parts.by_repeats
    assert none.images > 0 and some.images > 0
    crossed = {group.name: group.images for group in parts.by_count_and_repeats}
    assert sum(n for name, n in crossed.items() if ", a kind" in name) == some.images
    for count, group in list(enumerate(parts.by_count))[2:]:
        alike = [n for name, n in crossed.items() if name.startswith(f"{count},")]
        assert len(alike) == 2 and sum(alike) == group.images
    assert split(judged).by_occlusion is None
