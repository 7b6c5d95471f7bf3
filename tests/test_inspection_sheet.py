"""scripts/sheet.py: test images with what became of them, worst cases first."""

from dataclasses import replace

import PIL.Image
import pytest
import torch
from conftest import ROOT

from air3d.checkpoint import save_model
from air3d.data import BopDataset, BopPlan, CanvasPlan, Digits, make_multi_mnist, write_bop
from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.evaluation import Evaluation, SceneMetrics, TestSet, evaluate, load_test_set
from air3d.geometry import rigid_transform
from air3d.inspection import sheets
from air3d.inspection.report import Seen
from air3d.inspection.scores import seen_at
from air3d.models import GlimpseConfig, SceneConfig, build_air
from air3d.scene import load_assets, load_scene
from scripts import sheet as sheet_script


@pytest.fixture(scope="module")
def tabletop(tmp_path_factory):
    """An untrained model of the table-top scene, and five images of it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tabletop")
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    model = build_air(spec, sizes, load_assets(spec))
    save_model(folder / "model", model, {})
    write_bop(folder / "data", BopPlan(spec, 5, 3))
    return folder
