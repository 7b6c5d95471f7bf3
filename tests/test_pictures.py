"""A user's own pictures: which are read, in which order they come, and what is refused."""

import io
import tarfile

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import ROOT

from air3d.data import DataError, PictureStream, load_pictures
from air3d.scene import load_scene

SPEC = load_scene(ROOT / "scenes" / "single_object.yaml").model_copy(
    update={"image_size": (16, 20)}
)


def _numbered(count: int) -> torch.Tensor:
    """Pictures that show their number."""
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)


def _shown(pictures: torch.Tensor) -> list[int]:
    return (255 * pictures[:, 0, 0, 0]).round().int().tolist()


def test_each_epoch_shows_every_picture_once_in_another_order():
    stream = PictureStream(_numbered(41), batch=8, seed=0)
    held_out = _shown(stream.held_out)
    assert len(held_out) == 4 and len(stream) == 37
    shown = [number for index in range(37) for number in _shown(stream.batch(index))]
    epochs = [shown[start : start + 37] for start in range(0, len(shown), 37)]
    assert len(epochs) == 8
    assert all(sorted(epoch + held_out) == list(range(41)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8


def test_a_batch_depends_on_seed_and_index_alone():
    stream, resumed, other = (PictureStream(_numbered(30), batch=7, seed=s) for s in (1, 1, 2))
    in_order = [stream.batch(index) for index in range(6)]
    assert torch.equal(resumed.batch(5), in_order[5])
    assert not torch.equal(other.batch(5), in_order[5])


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (9, 1), (10, 1), (64, 6), (250, 25)])
def test_one_picture_in_ten_is_held_out(count, held_out):
    stream = PictureStream(_numbered(count), batch=64, seed=0)
    assert (len(stream.held_out), len(stream)) == (held_out, count - held_out)
    assert len(stream.batch(3)) == 64
    assert not set(_shown(stream.batch(0))) & set(_shown(stream.held_out))


def test_many_pictures_are_held_out_evenly():
    stream = PictureStream(_numbered(256).repeat(20, 1, 1, 1), batch=4, seed=0)
    assert 180 <= len(stream.held_out) <= 200


def test_a_single_picture_is_too_few():
    with pytest.raises(DataError, match="--data: holds 1 picture, at least 2"):
        PictureStream(_numbered(1), batch=4, seed=0)


def test_image_files_are_read_in_the_order_of_their_names(tmp_path):
    for name, grey in (("b.png", 20), ("a.JPG", 10), ("c.bmp", 30)):
        PIL.Image.new("RGB", (20, 16), (grey, grey, grey)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "._b.png").write_bytes(b"what file managers leave")
    pictures = load_pictures(tmp_path, SPEC)
    assert pictures.shape == (3, 3, 16, 20) and pictures.dtype == torch.uint8
    assert pictures[:, 0, 0, 0].tolist() == [10, 20, 30]


def _png(grey: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (20, 16), (grey, grey, grey)).save(file, format="PNG")
    return file.getvalue()


def test_of_a_bop_data_set_only_the_images_are_read(tmp_path):
    """Nothing else of it is there, or makes sense."""
    scene = tmp_path / "loose" / "test" / "000007"
    (scene / "rgb").mkdir(parents=True)
    for kind in ("camera", "gt", "gt_info"):
        (scene / f"scene_{kind}.json").write_text('{"3": "?", "8": "?"}')
    for number, grey in ((3, 10), (8, 20)):
        (scene / "rgb" / f"{number:06d}.png").write_bytes(_png(grey))
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "shard-000000.tar", "w") as shard:
        for number, grey in ((3, 10), (8, 20)):
            member = tarfile.TarInfo(f"000007_{number:06d}.rgb.png")
            member.size = len(_png(grey))
            shard.addfile(member, io.BytesIO(_png(grey)))
    for name in ("loose", "shards"):
        assert load_pictures(tmp_path / name, SPEC)[:, 2, 0, 0].tolist() == [10, 20]


def test_what_is_no_folder_of_pictures_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere: is not a folder"):
        load_pictures(tmp_path / "nowhere", SPEC)
    with pytest.raises(DataError, match="holds no image files"):
        load_pictures(tmp_path, SPEC)
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "small.png")
    with pytest.raises(DataError, match=r"small.png: is 16 x 16 pixels, .* wants 20 x 16"):
        load_pictures(tmp_path, SPEC)
    (tmp_path / "small.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"small.png: is not an image"):
        load_pictures(tmp_path, SPEC)
