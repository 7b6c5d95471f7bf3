"""evaluate.py, from a checkpoint to figures on disk; the models here know nothing yet."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT

from air3d.checkpoint import save_model
from air3d.data.bop import BopPlan, write_bop
from air3d.evaluation import (
    CountMetrics,
    Figures,
    SceneMetrics,
    elbo_of,
    evaluate,
    examine,
    load_test_set,
    to_json,
)
from air3d.evaluation.tables import further_table, to_table
from air3d.models import GlimpseConfig, SceneConfig, build_air
from air3d.scene import load_assets, load_scene

SINGLE = load_scene(ROOT / "scenes" / "single_object.yaml")
DIGITS = load_scene(ROOT / "scenes" / "multi_mnist.yaml")


@pytest.fixture(scope="module")
def scene_model():
    torch.manual_seed(0)
    small = SceneConfig(
        channels=(8, 8), features=16, state=16, glimpse_channels=(8, 8), hidden=16, yaw_bins=4
    )
    return build_air(SINGLE, small, load_assets(SINGLE)).eval()


@pytest.fixture(scope="module")
def glimpse_checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    small = GlimpseConfig(channels=(8, 8), features=16, state=16, code=4, hidden=16)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(folder, build_air(DIGITS, small, ()), {"seed": 0})
    return folder


def _save_canvases(path, size):
    images = np.random.default_rng(0).integers(0, 256, (6, size, size), dtype=np.uint8)
    np.savez(path, images=images, counts=np.array([0, 1, 2, 2, 1, 0]))
    return path


def test_scenes_are_scored_alike_in_any_batches(tmp_path, scene_model):
    write_bop(tmp_path / "data", BopPlan(SINGLE, count=5, seed=0))
    test_set = load_test_set(tmp_path / "data", SINGLE, scene_model.meshes)
    whole = evaluate(scene_model, test_set, batch=5)
    parts = evaluate(scene_model, test_set, batch=2)
    assert isinstance(whole.metrics, SceneMetrics)
    assert whole.metrics.count.images == whole.metrics.objects == 5
    assert whole.metrics.count == parts.metrics.count
    assert whole.metrics.identity_accuracy == parts.metrics.identity_accuracy
    errors = [scores.metrics.position_metres.mean for scores in (whole, parts)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)
    assert all(mesh.name in to_table(whole) for mesh in scene_model.meshes)


def _figures(model, test_set):
    bound = elbo_of(model, test_set.images)
    return examine(test_set, evaluate(model, test_set), model.meshes, bound)


def test_scenes_get_every_figure(tmp_path, scene_model):
    write_bop(tmp_path / "data", BopPlan(SINGLE, count=4, seed=0))
    test_set = load_test_set(tmp_path / "data", SINGLE, scene_model.meshes)
    assert test_set.keys == tuple(f"000000_{row:06d}" for row in range(4))
    assert test_set.visible is not None and all(shares == (1.0,) for shares in test_set.visible)
    figures = _figures(scene_model, test_set)
    for words in ("ELBO", "identity, sure / right", "within 90 %", "BOP24 precision", "ADD(-S)"):
        assert words in further_table(figures)
    content = json.loads(json.dumps(to_json(figures), allow_nan=False))
    assert content.keys() == Figures.__dataclass_fields__.keys()
    assert None not in content.values()
    assert content["detection"]["targets"] == content["fit"]["elbo"]["number"] == 4
    assert content["splits"]["by_occlusion"][0]["objects"] == 4
    again = _figures(scene_model, test_set).fit.elbo
    assert again is not None and content["fit"]["elbo"]["mean"] == again.mean


def test_a_checkpoints_poses_are_written_for_bop(tmp_path, call_script, scene_model, capsys):
    write_bop(tmp_path / "data", BopPlan(SINGLE, count=3, seed=0))
    save_model(tmp_path / "model", scene_model, {"seed": 0})
    options = {"checkpoint": "model", "data": "data", "json": "s.json", "bop-csv": "s.csv"}
    flags = [text for name, value in options.items() for text in (f"--{name}", tmp_path / value)]
    assert call_script("evaluate.py", *flags) == 0, capsys.readouterr().err
    confusion = json.loads((tmp_path / "s.json").read_text())["metrics"]["count"]["confusion"]
    found = sum(said * number for row in confusion for said, number in enumerate(row))
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == "scene_id,im_id,obj_id,score,R,t,time" and len(lines) == 1 + found


def test_nothing_to_test_is_refused(tmp_path, scene_model):
    write_bop(tmp_path / "data", BopPlan(SINGLE, count=1, seed=0))
    test_set = load_test_set(tmp_path / "data", SINGLE, scene_model.meshes)
    with pytest.raises(ValueError, match="test set is empty"):
        evaluate(scene_model, test_set.first(0))
    with pytest.raises(ValueError, match="batch must be at least 1"):
        evaluate(scene_model, test_set, batch=0)


def test_figures_come_with_their_provenance(tmp_path, call_script, glimpse_checkpoint, capsys):
    data, scores = _save_canvases(tmp_path / "data.npz", 50), tmp_path / "new" / "scores.json"
    options = ["--checkpoint", glimpse_checkpoint, "--data", data, "--json", scores, "--limit", 4]
    assert call_script("evaluate.py", *options) == 0
    assert "count right" in capsys.readouterr().out
    content = json.loads(scores.read_text())
    assert content["images"] == content["metrics"]["images"] == 4
    assert content["metrics"].keys() == CountMetrics.__dataclass_fields__.keys()
    assert content["calibration"]["count"]["number"] == 4 and content["detection"] is None
    assert content["provenance"]["command"].startswith("python ")
    assert content["images_per_second"] > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": "small.npz"}, "small.npz: its images are 40x40, the checkpoint (multi_mnist)"),
        ({"data": "none.npz"}, "none.npz: there is no such data set"),
        ({"checkpoint": "nowhere"}, "nowhere: is no checkpoint"),
        ({"json": "data.npz/scores.json"}, "scores.json: cannot be written"),
        ({"bop-csv": "poses.csv"}, "--bop-csv: data.npz shows no poses"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path, monkeypatch, call_script, glimpse_checkpoint, change, sentence
):
    _save_canvases(tmp_path / "small.npz", 40)
    _save_canvases(tmp_path / "data.npz", 50)
    options = {"checkpoint": glimpse_checkpoint, "data": "data.npz", "json": "scores.json"} | change
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    monkeypatch.chdir(tmp_path)
    answer = call_script("evaluate.py", *flags)  # Python prints a text to stderr and ends with 1
    assert isinstance(answer, str) and sentence in answer and "\n" not in answer
    assert not (tmp_path / "scores.json").exists()


def test_options_out_of_range_end_before_any_work(tmp_path, call_script, capsys):
    flags = ["--checkpoint", "x", "--data", "y", "--json", str(tmp_path / "z"), "--limit", "0"]
    assert call_script("evaluate.py", *flags) not in (0, None)
    assert "--limit must be at least 1, got 0" in capsys.readouterr().err
