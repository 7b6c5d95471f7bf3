"""infer.py warns of pictures that are not of the checkpoint's scene, and of no others."""

import warnings

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import ROOT
from sklearn.datasets import load_sample_image

from air3d.checkpoint import load_model
from air3d.data import Disturbances, SceneStream
from air3d.data.disturbances import UNDISTURBED
from air3d.evaluation import evaluate
from air3d.evaluation.test_sets import TestSet
from air3d.inference import Effort, infer
from air3d.inference.strangers import strangers
from scripts import infer as infer_script

CHECKPOINTS = ROOT / "assets/checkpoints"


def photographs() -> torch.Tensor:
    """Two photographs and quarters of them, [B, 3, 64, 64]."""
    pieces = []
    for name in ("china.jpg", "flower.jpg"):
        whole = PIL.Image.fromarray(load_sample_image(name))
        width, height = whole.size
        for left, top in ((0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)):
            pieces.append(whole.crop((left, top, left + width // 2, top + height // 2)))
        pieces.append(whole)
    resized = [np.array(piece.resize((64, 64))) for piece in pieces]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 255


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("name", ["single_object", "tabletop"])
def test_photographs_are_strangers_and_the_models_own_pictures_are_not(name):
    model = load_model(CHECKPOINTS / name)
    noise = model.spec.noise_std
    photos = photographs()
    assert strangers(photos, infer(model, photos), noise).all()
    own = SceneStream(model.spec, batch=50, seed=12).batch(0).images
    assert not strangers(own, infer(model, own), noise).any()
    assert not strangers(own[:4], infer(model, own[:4], Effort(refine_steps=3)), noise).any()


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    "disturbances",
    [
        UNDISTURBED,
        Disturbances(brightness=0.25, noise=2.0, light=40.0),
        Disturbances(tint=0.3),
        Disturbances(noise=3.0),
    ],
)
def test_what_another_camera_took_is_no_stranger_while_it_is_right(disturbances):
    model = load_model(CHECKPOINTS / "single_object")
    stream = SceneStream(model.spec, batch=50, seed=12, disturbances=disturbances)
    scenes = stream.batch(0)
    assert evaluate(model, TestSet.of_scenes(scenes)).metrics.all_right > 0.95
    estimates = infer(model, scenes.images)
    assert not strangers(scenes.images, estimates, model.spec.noise_std).any()


def test_infer_warns_in_one_line_of_the_stranger_alone(tmp_path):
    photo = tmp_path / "photo.png"
    pixels = (255 * photographs()[-1]).byte().permute(1, 2, 0).numpy()
    PIL.Image.fromarray(pixels).save(photo)
    images = (ROOT / "assets/example.png", photo)
    arguments = infer_script.Arguments(images, CHECKPOINTS / "single_object", tmp_path / "out")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        infer_script.main(arguments)
    (warning,) = said
    assert str(warning.message).startswith(f"{photo}: ") and "\n" not in str(warning.message)
    assert "'single_object'" in str(warning.message)
    assert (tmp_path / "out/photo.json").is_file()
