"""scripts/demo.py in small: from scenes and digits to one page and its figures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from air3d.checkpoint import save_model
from air3d.cli import InputError
from air3d.data import BopPlan, DataError, Digits, write_bop
from air3d.inference import Effort
from air3d.models import GlimpseConfig, SceneConfig, build_air
from air3d.scene import load_assets, load_scene
from scripts import demo

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """The demo with untrained models, few steps, few pictures, and made-up digits."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "scenes", root / "scenes")
    shutil.copytree(ROOT / "assets" / "meshes", root / "assets" / "meshes")
    torch.manual_seed(0)
    spec = load_scene(root / "scenes" / "tabletop.yaml")
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    model = build_air(spec, sizes, load_assets(spec))
    save_model(root / "assets" / "checkpoints" / "tabletop", model, {})
    spec = load_scene(root / "scenes" / "multi_mnist.yaml")
    small = GlimpseConfig(channels=(4, 4, 4), features=8, state=8, code=4, hidden=8)
    save_model(root / "assets" / "checkpoints" / "multi_mnist", build_air(spec, small, ()), {})
    digits = Digits(torch.full((3, 28, 28), 90, dtype=torch.uint8), torch.arange(3), "squares")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "ROOT", root)
        patch.setattr(demo, "EFFORT", Effort(refine_steps=1))
        patch.setattr(demo, "CANVASES", 30)
        patch.setattr(demo, "SHOWN_SCENES", 2)
        patch.setattr(demo, "SHOWN_VIEWERS", 1)
        patch.setattr(demo, "load_digits", lambda split, folder: digits)
        yield demo


@pytest.mark.usefixtures("as_users_run")
def test_a_second_demo_replaces_the_first_and_leaves_a_report_and_its_figures(
    small_demo, tmp_path, capsys
):
    out = tmp_path / "out"
    small_demo.main(demo.Arguments(out=out, count=1, seed=0))
    capsys.readouterr()
    small_demo.main(demo.Arguments(out=out, count=3, seed=3))
    figures = json.loads((out / "figures.json").read_text())
    assert figures["provenance"]["seed"] == 3
    assert figures["scenes"]["searched"]["count"]["images"] == 3
    assert figures["digits"]["source"] == "squares"
    assert np.sum(figures["digits"]["metrics"]["confusion"]) == 30
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<article>") == demo.SHOWN_SCENES
    assert page.count("<iframe") == demo.SHOWN_VIEWERS
    assert "30 canvases of up to two digits from squares" in page
    printed = capsys.readouterr().out
    assert "identity right" in printed and str((out / "report.html").resolve()) in printed


def test_the_demo_never_removes_what_it_did_not_make(small_demo, tmp_path):
    precious = tmp_path / "out" / "scenes" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("five years")
    with pytest.raises(DataError, match=r"thesis\.txt"):
        small_demo.main(demo.Arguments(out=tmp_path / "out", count=3))
    assert precious.read_text() == "five years"


def test_the_demo_leaves_another_data_set_alone(small_demo, tmp_path):
    """Rendered data of other settings in the folder's place, but no earlier demo's figures."""
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    write_bop(tmp_path / "out" / "scenes", BopPlan(spec, 2, seed=7))
    before = (tmp_path / "out" / "scenes" / "dataset_info.json").read_bytes()
    with pytest.raises(DataError, match="made with other settings"):
        small_demo.main(demo.Arguments(out=tmp_path / "out", count=3))
    assert (tmp_path / "out" / "scenes" / "dataset_info.json").read_bytes() == before


def test_the_demo_refuses_impossible_numbers(small_demo, tmp_path):
    for arguments in (demo.Arguments(out=tmp_path / "o", count=0), demo.Arguments(seed=-1)):
        with pytest.raises(InputError, match="--count must be at least 1"):
            small_demo.main(arguments)
    assert not (tmp_path / "o").exists()
