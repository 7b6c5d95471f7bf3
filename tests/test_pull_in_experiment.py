"""The pull-in experiment puts objects off as told, counts right, and writes what it found."""

import dataclasses
import json

import pytest
import torch
from conftest import ROOT

from air3d.benchmarks import Start, come_home, draw_trials, is_home, ways_to_look
from air3d.geometry import yaw_rotation
from air3d.models.decoders import SceneDecoder
from air3d.scene import known_view, load_assets, load_scene, upright_scenes

SCENE = ROOT / "scenes" / "single_object.yaml"
SPEC = load_scene(SCENE)
MESHES = load_assets(SPEC)


def test_objects_are_put_off_as_told_within_the_bounds():
    trials = draw_trials(SPEC, MESHES, Start(distance=1.0, angle=0.5), number=20, seed=3)
    truth, start = trials.truth, trials.start
    assert len(truth) == len(start) == len(trials.images) == 20
    diameter = torch.tensor([mesh.diameter for mesh in MESHES])[truth.identity]
    distance = (start.position - truth.position).norm(dim=-1)
    torch.testing.assert_close(distance, diameter)
    turn = torch.tensor([torch.pi / 8, 0.0, torch.pi / 2])[truth.identity]
    off = torch.remainder(start.yaw - truth.yaw + torch.pi, 2 * torch.pi) - torch.pi
    torch.testing.assert_close(off.abs(), turn)
    assert (start.position[..., :2].abs() <= 0.6).all()
    again = draw_trials(SPEC, MESHES, Start(distance=1.0, angle=0.5), number=20, seed=3)
    assert torch.equal(again.images, trials.images)


def test_too_far_is_refused():
    with pytest.raises(ValueError, match="distance 5 diameters"):
        draw_trials(SPEC, MESHES, Start(distance=5.0, angle=0.0), number=2, seed=0)


def test_home_is_near_and_turned_right_up_to_symmetry():
    identity = torch.tensor([[0], [0], [1], [2], [2]])
    view = vars(known_view(SPEC))
    truth = upright_scenes(identity, torch.zeros(5, 1, 3), torch.zeros(5, 1), **view)
    turns = torch.tensor([torch.pi / 2, torch.pi / 4, 1.0, torch.pi / 2, 0.01])[:, None]
    found = dataclasses.replace(truth, rotation=yaw_rotation(turns))
    assert is_home(found, truth, MESHES)[:, 0].tolist() == [True, False, True, False, True]
    away = dataclasses.replace(found, position=torch.full((5, 1, 3), 0.1))
    assert not is_home(away, truth, MESHES).any()


def test_annealed_pyramids_bring_home_what_sharp_edges_do_not():
    scene = SceneDecoder(SPEC, MESHES)
    trials = draw_trials(SPEC, MESHES, Start(distance=1.2, angle=0.2), number=12, seed=0)
    ways = list(ways_to_look(SPEC).values())
    sharp, both = (
        come_home(trials, scene, SceneDecoder(way, MESHES), steps=30) for way in (ways[0], ways[-1])
    )
    assert sharp.objects == both.objects == 12
    assert sharp.turning == both.turning == int((trials.truth.identity != 1).sum())
    assert both.home >= sharp.home + 3, (sharp, both)
    assert sharp.turning_home <= 1 and both.turning_home >= 3, (sharp, both)


@pytest.mark.usefixtures("as_users_run")
def test_the_script_writes_figures_and_picture(call_script, tmp_path, capsys):
    json_path, plot = tmp_path / "pull_in.json", tmp_path / "pull_in.png"
    tiny = ("--number", "2", "--steps", "1", "--distances", "0.1", "--angles", "0", "0.5")
    assert call_script("pull_in.py", SCENE, *tiny, "--json", json_path, "--plot", plot) == 0
    content = json.loads(json_path.read_text(encoding="utf-8"))
    assert set(content["ways"]) == set(ways_to_look(SPEC))
    assert len(content["rows"]) == 3 * len(content["ways"])
    for row in content["rows"]:
        assert 0.0 <= row["share_home"] <= 1.0 and row["home"] <= row["objects"] == 2
    assert content["provenance"]["seed"] == 0
    assert "come home" in capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_script_refuses_angles_beyond_the_greatest(call_script, capsys):
    assert call_script("pull_in.py", SCENE, "--angles", "1.5") not in (0, None)
    assert "--angles must be numbers from 0 to 1, got (1.5,)" in capsys.readouterr().err


def test_the_script_refuses_objects_that_turn_freely(call_script):
    answer = call_script("pull_in.py", ROOT / "scenes" / "single_object_so3.yaml")
    assert "its objects turn freely" in str(answer)
