"""A packed checkpoint says what the whole one says, and is half as large."""

import pytest
import torch
from conftest import ROOT
from model_cases import SMALL

from air3d.checkpoint import CONFIG, WEIGHTS, CheckpointError, load_model, pack_model, save_model
from air3d.data import SceneStream
from air3d.models import build_air
from air3d.scene import load_scene
from air3d.scene.spec import SceneSpec


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A model of objects that turn freely, whose bins are no weights; its checkpoint; images."""
    spec = load_scene(ROOT / "scenes" / "single_object_so3.yaml")
    assert isinstance(spec, SceneSpec)
    stream = SceneStream(spec, batch=4, seed=0)
    torch.manual_seed(0)
    model = build_air(spec, SMALL, stream.meshes).eval()
    folder = tmp_path_factory.mktemp("whole")
    save_model(folder, model, {"command": "train", "seed": 0})
    return model, folder, stream.batch(0).images


def test_a_packed_model_says_the_same_in_half_the_room(case, tmp_path):
    model, whole, images = case
    pack_model(whole, tmp_path)
    sizes = [(folder / WEIGHTS).stat().st_size for folder in (tmp_path, whole)]
    assert sizes[0] < 0.6 * sizes[1]
    assert (tmp_path / CONFIG).read_text() == (whole / CONFIG).read_text()
    packed = load_model(tmp_path)
    for name, value in packed.state_dict().items():
        there = model.state_dict()[name]
        assert value.dtype == there.dtype
        torch.testing.assert_close(value, there, rtol=5e-4, atol=1e-7)
    for name, value in packed.named_buffers():
        assert torch.equal(value, model.get_buffer(name))  # rotations would be none any more
    with torch.no_grad():
        one, other = model.mode(images), packed.mode(images)
    torch.testing.assert_close(one.presence_logits, other.presence_logits, atol=5e-3, rtol=0.0)
    torch.testing.assert_close(one.latents.found, other.latents.found, atol=5e-3, rtol=0.0)


def test_packing_again_changes_nothing(case, tmp_path):
    pack_model(case[1], tmp_path / "one")
    pack_model(tmp_path / "one", tmp_path / "two")
    contents = [(tmp_path / name / WEIGHTS).read_bytes() for name in ("one", "two")]
    assert contents[0] == contents[1]


def test_the_script_packs_and_says_how_large(case, tmp_path, call_script, capsys):
    out = tmp_path / "packed"
    assert call_script("pack.py", "--checkpoint", case[1], "--out", out) == 0
    assert "MB of weights" in capsys.readouterr().out
    assert load_model(out).meshes


def test_what_cannot_be_packed_is_one_sentence(case, tmp_path, call_script):
    answer = call_script("pack.py", "--checkpoint", case[1], "--out", case[1])
    assert isinstance(answer, str) and "is the checkpoint itself" in answer
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        pack_model(tmp_path, tmp_path / "out")
