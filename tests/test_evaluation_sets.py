"""A test set is read only where it fits the model; everything else ends in one sentence."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT

from air3d.data import DataError
from air3d.data.bop import BopPlan, write_bop
from air3d.evaluation import load_test_set
from air3d.scene import load_assets, load_scene

SINGLE = load_scene(ROOT / "scenes" / "single_object.yaml")
DIGITS = load_scene(ROOT / "scenes" / "multi_mnist.yaml")
MESHES = load_assets(SINGLE)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    path = tmp_path_factory.mktemp("bop") / "data"
    write_bop(path, BopPlan(SINGLE, count=3, seed=0))
    return path


@pytest.fixture
def canvases(tmp_path):
    path = tmp_path / "canvases.npz"
    images = np.random.default_rng(0).integers(0, 256, (5, 50, 50), dtype=np.uint8)
    np.savez(path, images=images, counts=np.array([0, 1, 2, 1, 0]))
    return path


def _edited_spec(tmp_path, edit):
    content = yaml.safe_load((ROOT / "scenes" / "single_object.yaml").read_text())
    for kind in content["objects"]["types"]:
        kind["mesh"] = str(ROOT / "scenes" / kind["mesh"])
    edit(content)
    path = tmp_path / "edited.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_scene(path)


def test_rendered_scenes_come_with_their_truth(rendered):
    test_set = load_test_set(rendered, SINGLE, MESHES)
    assert test_set.images.shape == (3, 3, 64, 64)
    assert test_set.counts.tolist() == [1, 1, 1]
    assert test_set.scenes is not None and len(test_set.scenes) == 3
    first = test_set.first(2)
    assert len(first) == len(first.scenes) == len(first.counts) == 2
    assert torch.equal(first.scenes.position, test_set.scenes.position[:2])


def test_canvases_come_with_their_counts(canvases):
    test_set = load_test_set(canvases, DIGITS)
    assert test_set.images.shape == (5, 1, 50, 50)
    assert 0.0 <= float(test_set.images.min()) < float(test_set.images.max()) <= 1.0
    assert test_set.counts.tolist() == [0, 1, 2, 1, 0]
    assert test_set.scenes is None and len(test_set.first(100)) == 5


def test_the_other_kind_of_data_is_refused(rendered, canvases):
    with pytest.raises(DataError, match=r"is a folder.*multi_mnist.*\.npz"):
        load_test_set(rendered, DIGITS)
    with pytest.raises(DataError, match=r"is a file.*single_object.*folder of a BOP"):
        load_test_set(canvases, SINGLE, MESHES)
    with pytest.raises(DataError, match="there is no such data set"):
        load_test_set(canvases.with_name("nowhere"), SINGLE, MESHES)


def test_other_image_sizes_are_refused(tmp_path, rendered, canvases):
    larger = _edited_spec(tmp_path, lambda content: content.update(image_size=[48, 96]))
    with pytest.raises(DataError, match=r"are 64x64.*reads 48x96"):
        load_test_set(rendered, larger, MESHES)
    with pytest.raises(DataError, match=r"are 50x50.*reads 40x40"):
        load_test_set(canvases, DIGITS.model_copy(update={"image_size": (40, 40)}))


def test_other_meshes_are_refused(tmp_path, rendered):
    renamed = _edited_spec(tmp_path, lambda c: c["objects"]["types"][1].update(name="moon"))
    with pytest.raises(DataError, match=r"shows red_cube, blue_sphere.*knows red_cube, moon"):
        load_test_set(rendered, renamed, MESHES)


def test_another_camera_is_refused(tmp_path, rendered):
    moved = _edited_spec(tmp_path, lambda content: content["camera"].update(eye=[0.0, -3.0, 2.0]))
    with pytest.raises(DataError, match="another camera"):
        load_test_set(rendered, moved, MESHES)


def test_another_camera_of_a_foreign_data_set_is_refused(tmp_path, rendered):
    """Nothing says how it was made: each image tells of its own camera."""
    foreign = shutil.copytree(rendered, tmp_path / "foreign")
    (foreign / "dataset_info.json").unlink()
    moved = _edited_spec(tmp_path, lambda content: content["camera"].update(eye=[0.0, -3.0, 2.0]))
    with pytest.raises(DataError, match="3 of 3 images have another camera"):
        load_test_set(foreign, moved, MESHES)
    zoomed = _edited_spec(tmp_path, lambda c: c["camera"].update(field_of_view=0.7))
    with pytest.raises(DataError, match="3 of 3 images have another camera"):
        load_test_set(foreign, zoomed, MESHES)


def test_meshes_of_a_foreign_data_set_are_compared_by_size(tmp_path, rendered):
    foreign = shutil.copytree(rendered, tmp_path / "foreign")
    (foreign / "dataset_info.json").unlink()
    assert len(load_test_set(foreign, SINGLE, MESHES)) == 3
    path = foreign / "models" / "models_info.json"
    info = json.loads(path.read_text())
    for entry in info.values():
        entry["diameter"] *= 1.5
    path.write_text(json.dumps(info))
    with pytest.raises(DataError, match=r"object \d is 0\.\d+ m across"):
        load_test_set(foreign, SINGLE, MESHES)
    with pytest.raises(DataError, match="knows 0 meshes"):
        load_test_set(foreign, SINGLE, ())
