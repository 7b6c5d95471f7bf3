"""Test sets that are rendered crisply: the same scenes, other pixels, read as every data set."""

import json

import pytest
import torch
from conftest import ROOT
from evaluation_cases import TABLE

from air3d.data import BopPlan, DataError, SceneStream, write_bop
from air3d.data.bop.crisp import CrispStream, finer
from air3d.evaluation import load_test_set
from air3d.geometry import project
from air3d.scene import SceneSpec, load_assets, load_scene

SINGLE = load_scene(ROOT / "scenes" / "single_object.yaml")
assert isinstance(SINGLE, SceneSpec)


def test_a_finer_camera_sees_the_same():
    scenes = SceneStream(TABLE, batch=3, seed=0).batch(0).scenes
    points = torch.randn(3, 20, 3) * 0.2
    coarse, fine = project(scenes.camera, points), project(finer(scenes.camera, 4), points)
    assert torch.allclose(fine.pixels, 4 * coarse.pixels, atol=1e-3)
    assert finer(scenes.camera, 4).image_size == (256, 256)


@pytest.fixture(scope="module")
def renders():
    soft = SceneStream(TABLE, batch=2, seed=5)
    scenes = soft.batch(0).scenes
    crisp = {n: CrispStream(TABLE, n, batch=2, seed=5).render(scenes) for n in (1, 4, 8)}
    return soft.render(scenes), crisp


def test_scenes_and_noise_are_those_of_the_soft_stream(renders):
    soft, crisp = renders
    one = SceneStream(TABLE, batch=2, seed=5).batch(0)
    other = CrispStream(TABLE, 4, batch=2, seed=5).batch(0)
    assert torch.equal(one.scenes.position, other.scenes.position)
    assert torch.equal(one.scenes.identity, other.scenes.identity)
    assert torch.allclose(one.images - soft, other.images - crisp[4], atol=1e-6)


def test_finer_samples_come_to_a_limit_that_soft_renders_do_not_show(renders):
    soft, crisp = renders

    def off(image):
        return float((image - crisp[8]).abs().mean())

    assert off(crisp[4]) < 0.25 * off(crisp[1])
    assert off(crisp[4]) < 0.2 * off(soft)


def test_a_crisp_data_set_says_so_and_is_a_test_set(tmp_path, call_script):
    path = tmp_path / "crisp"
    arguments = [ROOT / "scenes" / "single_object.yaml", "--out", path, "--count", 3, "--seed", 7]
    assert call_script("render_dataset.py", *arguments, "--supersample", 4) == 0
    record = json.loads((path / "dataset_info.json").read_text())
    assert record["supersample"] == 4
    assert record["render"]["sigma"] < 1e-6 < record["scene"]["render"]["sigma"]
    meshes = load_assets(SINGLE)
    crisp = load_test_set(path, SINGLE, meshes)
    assert crisp.source == "crisp, seed 7, crisp and supersampled 4 times" and crisp.seed == 7
    write_bop(tmp_path / "soft", BopPlan(SINGLE, count=3, seed=7))
    soft = load_test_set(tmp_path / "soft", SINGLE, meshes)
    assert soft.source == "soft, seed 7"
    assert torch.equal(soft.scenes.position, crisp.scenes.position)
    assert 0.0 < float((soft.images - crisp.images).abs().max())
    assert call_script("render_dataset.py", *arguments) != 0, "the other settings are refused"


@pytest.mark.parametrize("supersample", [0, 17])
def test_supersampling_has_limits(supersample):
    with pytest.raises(DataError, match="supersample must be 1"):
        BopPlan(SINGLE, count=1, seed=0, supersample=supersample)
