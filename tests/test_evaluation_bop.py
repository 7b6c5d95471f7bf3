"""Detection figures as BOP defines them, ADD and ADD-S, and BOP's CSV, against known truths."""

import csv
import dataclasses
import math

import pytest
import torch
from evaluation_cases import CROCKERY, say_the_truth, table_scenes

from air3d.evaluation import average_distances, detection_metrics, judge, write_bop_results
from air3d.evaluation.average_precision import Detection, average_precision
from air3d.evaluation.surfaces import (
    add,
    add_s,
    mspd,
    mssd,
    place_estimate,
    place_truth,
    place_twins,
    symmetric_turns,
)
from air3d.geometry import yaw_rotation
from air3d.scene import ABSENT, upright_scenes

SCENES = table_scenes(8)
TRUTH = say_the_truth(SCENES)
NAMES = [mesh.name for mesh in CROCKERY]
MUG, BOWL = NAMES.index("mug"), NAMES.index("bowl")


def _changed(estimate, change):
    """Change every object of an estimate."""
    return dataclasses.replace(estimate, objects=tuple(map(change, estimate.objects)))


def _turned(thing, yaw):
    pose = thing.object_to_world.clone()
    pose[:3, :3] = pose[:3, :3] @ yaw_rotation(torch.tensor(yaw))
    return dataclasses.replace(thing, object_to_world=pose)


def _shifted(thing, metres):
    pose = thing.object_to_world.clone()
    pose[0, 3] += metres
    return dataclasses.replace(thing, object_to_world=pose)


def _shows(*names):
    """Return a scene of objects of some kinds, in a row."""
    kinds = torch.tensor([[NAMES.index(name) for name in names]])
    place = torch.tensor([[[0.2 * number - 0.3, 0.0, 0.1] for number in range(len(names))]])
    view = {"camera": SCENES.camera[:1], "light": SCENES.light[:1]}
    return upright_scenes(kinds, place, torch.zeros(kinds.shape), **view)


def _one(name):
    """Return a scene of one object of a kind, and the estimate that says so."""
    scene = _shows(name)
    (estimate,) = say_the_truth(scene)
    return scene, estimate, CROCKERY[NAMES.index(name)]


def test_the_truth_itself_is_detected_and_without_distance():
    metrics = detection_metrics(TRUTH, SCENES, CROCKERY)
    assert metrics.targets == int(SCENES.count.sum())
    for precisions in (metrics.bop24, metrics.strict):
        assert precisions.mssd == precisions.mspd == precisions.mean == 1.0
    distances = average_distances(TRUTH, SCENES, CROCKERY, judge(TRUTH, SCENES, CROCKERY))
    for errors in (distances.add, distances.add_s, distances.add_or_s):
        assert errors.recall == 1.0 and errors.mean < 1e-5


@pytest.mark.parametrize(("name", "yaw"), [("pot", math.pi), ("bowl", 0.9), ("bottle", 2.0)])
def test_a_turn_that_symmetry_hides_costs_nothing(name, yaw):
    scene, estimate, mesh = _one(name)
    thing = _turned(estimate.objects[0], yaw)
    placed, twins = place_estimate(thing, mesh, scene.camera), place_twins(scene, 0, mesh)
    # The turns of a solid of revolution are 0.01 diameters apart; its mesh has fewer corners.
    assert mssd(placed, twins) < 0.02 * mesh.diameter and mspd(placed, twins) < 0.2
    assert add(placed, place_truth(scene, 0, mesh)) > 0.1 * mesh.diameter
    assert add_s(placed, place_truth(scene, 0, mesh)) < 0.05 * mesh.diameter


def test_a_turn_that_shows_is_an_error():
    scene, estimate, mesh = _one("mug")
    placed = place_estimate(_turned(estimate.objects[0], math.pi), mesh, scene.camera)
    assert mssd(placed, place_twins(scene, 0, mesh)) == pytest.approx(2 * mesh.reach, rel=1e-4)


def test_a_shift_is_a_distance():
    scene, estimate, mesh = _one("teapot")
    placed = place_estimate(_shifted(estimate.objects[0], 0.01), mesh, scene.camera)
    assert mssd(placed, place_twins(scene, 0, mesh)) == pytest.approx(0.01, rel=1e-4)
    assert add(placed, place_truth(scene, 0, mesh)) == pytest.approx(0.01, rel=1e-4)
    assert 0.0 < add_s(placed, place_truth(scene, 0, mesh)) <= 0.01


def test_a_wrong_scale_is_an_error():
    scene, estimate, mesh = _one("glass")
    thing = estimate.objects[0]
    larger = dataclasses.replace(thing, scale=1.2 * thing.scale)
    furthest = 0.2 * thing.scale * float(mesh.vertices.norm(dim=1).max())
    placed = place_estimate(larger, mesh, scene.camera)
    assert mssd(placed, place_twins(scene, 0, mesh)) == pytest.approx(furthest, rel=1e-4)


def test_a_wrong_camera_is_an_error():
    """All poses are compared in the camera's frame; the same world seen from elsewhere is not."""
    moved = SCENES.camera.world_to_camera.clone()
    moved[:, 2, 3] += 0.3
    wrong = [
        dataclasses.replace(e, camera=dataclasses.replace(e.camera, world_to_camera=pose[None]))
        for e, pose in zip(TRUTH, moved, strict=True)
    ]
    metrics = detection_metrics(wrong, SCENES, CROCKERY)
    assert metrics.bop24.mssd == 0.0
    assert metrics.bop24.mspd > 0.0, "further away along the view, objects keep near their pixels"


def test_precision_falls_with_the_thresholds_that_a_shift_passes():
    """A shift of 0.22 diameters passes the thresholds 0.25 to 0.5, which are six of ten."""
    scenes = table_scenes(80)
    alone = scenes[(scenes.count == 1).nonzero()[:, 0]]  # else one may fit another's place

    def shift(thing):
        return _shifted(thing, 0.22 * thing.scale * CROCKERY[thing.identity].diameter)

    shifted = [_changed(estimate, shift) for estimate in say_the_truth(alone)]
    assert len(alone) > 3
    assert detection_metrics(shifted, alone, CROCKERY).bop24.mssd == pytest.approx(0.6)


def _with_presence(thing, probability):
    return dataclasses.replace(thing, presence_probability=probability)


def test_the_surest_choose_first_and_doubles_are_wrong():
    scene = _shows("mug")
    (estimate,) = say_the_truth(scene)
    sure, unsure = (_with_presence(estimate.objects[0], p) for p in (0.9, 0.4))
    far = _shifted(_with_presence(estimate.objects[0], 0.5), 1.0)

    def mean(*objects):
        said = dataclasses.replace(estimate, objects=objects)
        return detection_metrics([said], scene, CROCKERY).bop24.mean

    assert mean(unsure, sure) == 1.0, "a wrong one less sure than all right ones costs nothing"
    assert mean(sure, far) == 1.0
    assert mean(unsure, far) == 0.5
    assert mean(far) == mean() == 0.0


def test_kinds_that_are_not_shown_are_wrong_where_counting_is_strict():
    both = _shows("mug", "bowl")[torch.tensor([0, 0])]
    both = dataclasses.replace(both, identity=torch.tensor([[MUG, ABSENT], [BOWL, ABSENT]]))
    a_mug, a_bowl = say_the_truth(both)
    haunted = dataclasses.replace(a_bowl, objects=(*a_bowl.objects, *a_mug.objects))
    unsure = _changed(a_mug, lambda thing: _with_presence(thing, 0.5))
    metrics = detection_metrics([unsure, haunted], both, CROCKERY)
    assert metrics.bop24.mean == 1.0, "BOP's toolkit does not look at the mug beside the bowl"
    assert metrics.strict.mean == 0.75, "half of it for mugs: the surest one is none"
    kinds = {kind.name: kind.strict.mean for kind in metrics.per_type}
    assert (kinds["mug"], kinds["bowl"], kinds["pot"]) == (0.5, 1.0, None)


def test_hidden_objects_are_no_targets_and_those_who_find_them_not_wrong():
    visible = [tuple(0.05 for _ in estimate.objects) for estimate in TRUTH]
    visible[0] = tuple(1.0 for _ in TRUTH[0].objects)
    metrics = detection_metrics(TRUTH, SCENES, CROCKERY, visible)
    assert metrics.targets == len(TRUTH[0].objects)
    assert metrics.strict.mean == 1.0
    none = detection_metrics(TRUTH, SCENES, CROCKERY, [(0.0,) * len(e.objects) for e in TRUTH])
    assert none.targets == 0 and none.bop24.mean is None


def test_average_precision_of_a_known_curve():
    """Right, wrong, right of two: precision 1 up to recall 0.5, 2/3 beyond."""
    found = [Detection(0.9, True), Detection(0.2, True), Detection(0.5, False)]
    assert average_precision(found, 2) == pytest.approx((51 * 1.0 + 50 * 2 / 3) / 101)
    assert average_precision(found, 4) == pytest.approx((26 * 1.0 + 25 * 2 / 3) / 101)
    assert average_precision([], 3) == 0.0


def test_turns_are_as_many_as_bop_takes():
    turns = {mesh.name: len(symmetric_turns(mesh)) for mesh in CROCKERY}
    assert (turns["mug"], turns["pot"], turns["bowl"]) == (1, 2, 315)


def test_csv_has_the_same_poses_in_millimetres_in_the_cameras_frame(tmp_path):
    path = tmp_path / "new" / "air3d_tabletop-test.csv"
    keys = [f"{3:06d}_{row:06d}" for row in range(8)]
    write_bop_results(path, keys, TRUTH, SCENES, 0.25)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert ",".join(rows[0]) == "scene_id,im_id,obj_id,score,R,t,time"
    assert len(rows) == int(SCENES.count.sum())
    for row in rows:
        image = int(row["im_id"])
        rotation = torch.tensor([float(v) for v in row["R"].split()]).reshape(3, 3)
        place = torch.tensor([float(v) for v in row["t"].split()]) / 1000
        poses = SCENES.camera.world_to_camera[image] @ SCENES.object_to_world[image]
        same = (poses[:, :3, 3] - place).abs().amax(dim=1).argmin()
        assert torch.allclose(poses[same, :3, :3], rotation, atol=1e-5)
        assert torch.allclose(poses[same, :3, 3], place, atol=1e-5)
        assert int(row["obj_id"]) == int(SCENES.identity[image, same]) + 1
        assert (row["scene_id"], float(row["score"]), float(row["time"])) == ("3", 1.0, 0.25)
