"""scripts/sheet.py: test images with what became of them, worst cases first."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import ROOT

from air3d.checkpoint import save_model
from air3d.cli import InputError
from air3d.data import BopDataset, BopPlan, Digits, make_multi_mnist, write_bop
from air3d.data.canvases import save_canvases
from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.evaluation import Evaluation, TestSet, evaluate, load_test_set
from air3d.inspection.scores import seen_at
from air3d.inspection.sheets import case_sheet, farthest_first, least_likely_first
from air3d.models import Air, GlimpseConfig, SceneConfig, build_air
from air3d.scene import load_assets, load_scene
from scripts import sheet as sheet_script


@dataclass(frozen=True)
class Case:
    """An untrained model, where it is saved, images for it, and what it makes of them."""

    folder: Path
    model: Air
    test_set: TestSet
    evaluation: Evaluation


@pytest.fixture(scope="module")
def tabletop(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tabletop")
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    model = build_air(spec, sizes, load_assets(spec)).eval()
    save_model(folder / "model", model, {})
    write_bop(folder / "data", BopPlan(spec, 5, 3))
    test_set = load_test_set(folder / "data", spec, model.meshes)
    return Case(folder, model, test_set, evaluate(model, test_set))


def truth_as_estimate(case: Case, row: int, shift: float, log_likelihood: float) -> SceneEstimate:
    """What an estimate would be that is right but for its last object, moved along x (metres)."""
    scene = case.test_set.scenes[row : row + 1].present()
    objects = []
    for index, identity in enumerate(scene.identity[0].tolist()):
        pose = scene.object_to_world[0, index].clone()
        pose[0, 3] += shift * (index == scene.identity.shape[1] - 1)
        scale, colour = float(scene.scale[0, index]), scene.colour[0, index]
        name = case.model.meshes[identity].name
        found = ObjectEstimate(name, identity, 1.0, 1.0, pose, scale, colour, torch.zeros(2, 2))
        objects.append(found)
    return replace(
        case.evaluation.estimates[row],
        count=len(objects),
        objects=tuple(objects),
        log_likelihood=log_likelihood,
    )


def test_the_least_likely_images_come_first(tabletop):
    scores = [3.0, -5.0, 9.0, 0.0, -1.0]
    estimates = [
        replace(estimate, log_likelihood=score)
        for estimate, score in zip(tabletop.evaluation.estimates, scores, strict=True)
    ]
    ranked = least_likely_first(replace(tabletop.evaluation, estimates=tuple(estimates)))
    assert ranked == [1, 4, 3, 0, 2]


def test_wrong_counts_come_first_and_then_the_farthest_off(tabletop):
    """Rows 1 and 4 lack an object; the others' last object is off by what ``shifts`` says."""
    shifts, likelihoods = [0.03, 0.0, 0.01, 0.02, 0.0], [9.0, 2.0, 1.0, 3.0, 1.5]
    rows = range(len(shifts))
    counts = tabletop.test_set.counts
    assert (counts > 0).all(), "choose another seed: every image must show something"
    estimates = [truth_as_estimate(tabletop, r, shifts[r], likelihoods[r]) for r in rows]
    for row in (1, 4):
        estimates[row] = replace(estimates[row], objects=estimates[row].objects[:-1])
    evaluation = replace(tabletop.evaluation, estimates=tuple(estimates))
    assert farthest_first(tabletop.test_set, evaluation) == [4, 1, 0, 3, 2]


def test_a_case_shows_image_reconstruction_and_overlay(tabletop):
    """The image's own pixels and the reconstruction's are there, side by side."""
    estimate = truth_as_estimate(tabletop, 0, 0.0, 1.0)
    green = torch.zeros(3, 64, 64)
    green[1] = 1.0
    evaluation = replace(tabletop.evaluation, estimates=(replace(estimate, reconstruction=green),))
    seen = seen_at(tabletop.model.meshes, tabletop.test_set, evaluation, 0)
    assert seen.remark.startswith("The truth: a") and "0.00 mm away" in seen.remark
    page = np.asarray(case_sheet("title", [seen], tabletop.model.meshes))
    assert (page == (0, 255, 0)).all(axis=2).sum() == (4 * 64) ** 2
    assert page.shape[1] > 3 * 4 * 64


def test_the_script_draws_the_worst_images_by_their_keys(tabletop, tmp_path, monkeypatch, capsys):
    drawn = []

    def draw(title, seen, meshes, table):
        drawn.append((title, [each.name for each in seen], table))
        return case_sheet(title, seen, meshes, table)

    monkeypatch.setattr(sheet_script, "case_sheet", draw)
    out = tmp_path / "new" / "sheet.png"
    folder = tabletop.folder
    sheet_script.main(sheet_script.Arguments(folder / "model", folder / "data", out, count=3))
    keys = [image.key for image in BopDataset(folder / "data")]
    ((title, names, table),) = drawn
    assert names == [keys[row] for row in least_likely_first(tabletop.evaluation)[:3]]
    assert title.startswith("tabletop: 3 of 5 images of data, seed 3, least likely first")
    assert table == tabletop.model.spec.table
    assert PIL.Image.open(out).width > 3 * 3 * 4 * 64
    assert capsys.readouterr().out.strip() == str(out)
    by_position = sheet_script.Arguments(
        folder / "model", folder / "data", out, worst_by="position", limit=2
    )
    sheet_script.main(by_position)
    assert sorted(drawn[1][1]) == sorted(keys[:2])


def test_canvases_have_a_sheet_too(tmp_path, capsys):
    torch.manual_seed(0)
    spec = load_scene(ROOT / "scenes" / "multi_mnist.yaml")
    sizes = GlimpseConfig(channels=(4, 4, 4), features=8, state=8, code=4, hidden=8)
    save_model(tmp_path / "model", build_air(spec, sizes, ()), {})
    digits = Digits(torch.full((3, 28, 28), 90, dtype=torch.uint8), torch.arange(3), "squares")
    save_canvases(tmp_path / "c.npz", make_multi_mnist(spec, digits, 4, 0))
    arguments = sheet_script.Arguments(tmp_path / "model", tmp_path / "c.npz", tmp_path / "s.png")
    sheet_script.main(arguments)
    assert PIL.Image.open(tmp_path / "s.png").height > 2 * 50
    with pytest.raises(InputError, match="--worst-by position: is for 3D"):
        sheet_script.main(replace(arguments, worst_by="position"))


def test_what_cannot_be_drawn_is_said_in_a_sentence(call_script, tmp_path):
    given = ("--checkpoint", tmp_path / "c", "--data", tmp_path / "d")
    nothing = call_script("sheet.py", *given, "--out", tmp_path / "s.png")
    assert str(nothing).startswith("sheet: ") and "is no checkpoint" in str(nothing)
    with pytest.raises(ValueError, match=r"s\.jpg: must end in \.png"):
        sheet_script.Arguments(tmp_path, tmp_path, tmp_path / "s.jpg")
    with pytest.raises(ValueError, match="--count must be at least 1"):
        sheet_script.Arguments(tmp_path, tmp_path, tmp_path / "s.png", count=0)
