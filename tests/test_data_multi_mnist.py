"""Canvases of digits follow the scene file, and their files say what they hold."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from data_cases import write_mnist

from air3d.data import (
    CanvasDataset,
    CanvasPlan,
    DataError,
    Digits,
    load_canvases,
    make_multi_mnist,
    save_canvases,
    write_multi_mnist,
)
from air3d.scene import GlimpseSpec, load_scene

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def spec() -> GlimpseSpec:
    spec = load_scene(ROOT / "scenes" / "multi_mnist.yaml")
    assert isinstance(spec, GlimpseSpec)
    return spec


def with_glyphs(spec: GlimpseSpec, **changes: object) -> GlimpseSpec:
    content = spec.model_dump(mode="json")
    content["glyphs"] |= changes
    return GlimpseSpec.model_validate(content)


@pytest.fixture(scope="module")
def squares() -> Digits:
    """Return 'digits' that are filled squares of 14x14 pixels in the middle of 28x28."""
    images = torch.zeros(3, 28, 28, dtype=torch.uint8)
    images[:, 7:21, 7:21] = torch.tensor([100, 180, 255], dtype=torch.uint8)[:, None, None]
    return Digits(images, torch.arange(3), "squares")


def test_counts_follow_the_scene_file(spec, squares):
    skewed = with_glyphs(spec, count=[0.2, 0.3, 0.5])
    counts = make_multi_mnist(skewed, squares, 4000, seed=0).counts
    mean = 4000 * torch.tensor(skewed.count)
    deviation = (mean * (1 - torch.tensor(skewed.count))).sqrt()
    assert float(((counts.bincount(minlength=3) - mean) / deviation).abs().max()) < 4.5


def test_the_limit_forbids_overlap_and_leaves_the_counts_alone(spec, squares):
    full = Digits(squares.images[2:], squares.labels[2:], squares.source)
    canvases = make_multi_mnist(spec, full, 1000, seed=1)
    brightness = canvases.images.float().sum(dim=(1, 2))
    assert bool((brightness[canvases.counts == 0] == 0).all())
    one, two = (brightness[canvases.counts == n].mean() for n in (1, 2))
    # Full squares that overlapped would be clipped and lose brightness; touching ones do not.
    assert float(two / one) == pytest.approx(2.0, rel=0.03)


def test_a_generous_limit_lets_digits_overlap(spec, squares):
    """Two squares that share much of their place light fewer pixels than two apart."""
    full = Digits(squares.images[2:], squares.labels[2:], squares.source)

    def lit(count: list[float], limit: int) -> torch.Tensor:
        glyphs = {"count": count, "overlap_limit": limit, "size_std": 0.0}
        images = make_multi_mnist(with_glyphs(spec, **glyphs), full, 300, seed=0).images
        return (images == 255).sum(dim=(1, 2))

    single = int(lit([0.0, 1.0], 255).max())
    assert int(lit([0.0, 0.0, 1.0], 255).min()) >= 2 * single
    assert int(lit([0.0, 0.0, 1.0], 510).min()) < 1.5 * single


def test_digits_have_the_size_and_the_room_of_the_scene_file(spec, squares):
    single = with_glyphs(spec, count=[0.0, 1.0], size_mean=1.4, size_std=0.0)
    images = make_multi_mnist(single, squares, 3000, seed=2).images
    side = 28 / 1.4  # 20 pixels, of which the square is half
    lit = images.float() / images.amax(dim=(1, 2), keepdim=True)
    assert float(lit.sum(dim=(1, 2)).mean()) == pytest.approx((side / 2) ** 2, rel=0.02)
    rows = (images > 0).any(dim=2).float()
    first = rows.argmax(dim=1)
    # The window may touch the border, so the square begins a quarter of the side from it.
    assert 4 <= int(first.min()) <= 6 and int(first.max()) <= 50 - side + 5
    assert int(first.max()) >= 50 - side + 3


def test_a_digit_as_large_as_the_canvas_is_copied_to_it(squares):
    spec = GlimpseSpec.model_validate(
        yaml.safe_load(
            "{decoder: glimpse, name: t, image_size: [28, 28], "
            "glyphs: {count: [0, 1], size_mean: 1.0, size_std: 0.0}}"
        )
    )
    canvases = make_multi_mnist(spec, Digits(squares.images[:1], squares.labels[:1], ""), 2, 0)
    assert torch.equal(canvases.images, squares.images[:1].expand(2, 28, 28))


def test_the_seed_decides(spec, squares):
    first, again, other = (make_multi_mnist(spec, squares, 700, seed=s) for s in (5, 5, 6))
    assert torch.equal(first.images, again.images) and torch.equal(first.counts, again.counts)
    assert not torch.equal(first.images, other.images)
    assert first.source == "squares"


def test_too_many_digits_end_in_an_error(spec, squares):
    crowded = with_glyphs(spec, count=[0.0] * 12 + [1.0], size_mean=1.0)
    with pytest.raises(DataError, match="found no canvas of 12 digits.*ask for fewer"):
        make_multi_mnist(crowded, squares, 2, seed=0)


def test_no_canvas_at_all_is_an_error(spec, squares):
    with pytest.raises(DataError, match="count must be at least 1"):
        make_multi_mnist(spec, squares, 0, seed=0)


@pytest.mark.parametrize(
    ("count", "seed", "fault"),
    [
        (0, 0, "count must be at least 1, got 0"),
        (1, -1, "seed must be 0 to 2.*got -1"),
        (1, 2**64, "seed must be 0 to 2.*got 18446744073709551616"),
    ],
)
def test_senseless_plans_are_refused(spec, count, seed, fault):
    with pytest.raises(DataError, match=fault):
        CanvasPlan(spec, count, seed, "test")


def test_canvases_survive_their_file(tmp_path, spec, squares):
    canvases = make_multi_mnist(spec, squares, 20, seed=0)
    save_canvases(tmp_path / "c.npz", canvases)
    back = load_canvases(tmp_path / "c.npz")
    assert torch.equal(back.images, canvases.images)
    assert torch.equal(back.counts, canvases.counts)
    assert back.source == "squares"
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_a_bare_npz_of_anyones_is_read(tmp_path):
    path = tmp_path / "mine.npz"
    images = np.arange(2 * 50 * 50, dtype=np.uint8).reshape(2, 50, 50)
    np.savez(path, images=images, counts=np.array([1, 2], dtype=np.uint8))
    canvases = load_canvases(path)
    assert np.array_equal(canvases.images.numpy(), images)
    assert canvases.counts.tolist() == [1, 2] and canvases.counts.dtype == torch.int64
    assert canvases.source == "mine.npz"


GOOD = {"images": np.zeros((2, 50, 50), np.uint8), "counts": np.array([0, 1])}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"images": None}, "has no array 'images'"),
        ({"counts": None}, "has no array 'counts'"),
        ({"images": np.zeros((2, 50, 50), np.float32)}, "must be uint8.*is float32"),
        ({"images": np.zeros((2, 50, 50, 3), np.uint8)}, r"is uint8 of shape \[2, 50, 50, 3\]"),
        ({"images": np.zeros((0, 50, 50), np.uint8), "counts": np.zeros(0, int)}, "no images"),
        ({"counts": np.array([0, 1, 2])}, r"one per image \(\[2\]\), is .* \[3\]"),
        ({"counts": np.array([0.0, 1.5])}, "whole numbers"),
        ({"counts": np.array([0, -1])}, "negative"),
        ({"images": np.array([None, None], dtype=object)}, "cannot be read as an .npz"),
    ],
)
def test_a_wrong_npz_is_refused_in_one_sentence(tmp_path, change, fault):
    path = tmp_path / "bad.npz"
    arrays = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=fault) as caught:
        load_canvases(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_missing_and_other_files_are_refused(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez(whole, **GOOD)
    content = whole.read_bytes()
    np.savez_compressed(whole, **GOOD)
    packed = whole.read_bytes()
    for name, damaged in (
        ("cut.npz", content[: len(content) // 2]),
        ("empty.npz", b""),
        ("text.npz", b"not an archive"),
        ("flipped.npz", content[:200] + bytes([content[200] ^ 255]) + content[201:]),
        ("packed.npz", packed[:60] + bytes([packed[60] ^ 255]) + packed[61:]),
    ):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(DataError, match=f"{name}: cannot be read as an .npz file"):
            load_canvases(tmp_path / name)
    np.save(tmp_path / "single.npz.npy", GOOD["images"])
    (tmp_path / "single.npz.npy").rename(tmp_path / "single.npz")
    for path in (tmp_path / "gone.npz", tmp_path, tmp_path / "single.npz"):
        with pytest.raises(DataError, match="cannot be read as an .npz file"):
            load_canvases(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_damage_of_a_file_is_a_sentence(tmp_path, save):
    """One byte wrong, wherever it lies: the file is read, or refused by name."""
    path = tmp_path / "damaged.npz"
    save(path, images=np.zeros((2, 2, 2), np.uint8), counts=np.array([0, 1]))
    content, faults = path.read_bytes(), []
    for place in range(len(content)):
        for change in (1, 8, 255):
            damaged = bytes([content[place] ^ change])
            path.write_bytes(content[:place] + damaged + content[place + 1 :])
            try:
                load_canvases(path)
            except DataError as error:
                faults.append(str(error))
    assert all(str(path) in fault for fault in faults)
    assert any("encrypted" in fault for fault in faults)


def test_an_array_too_large_to_be_one_is_refused(tmp_path):
    path = tmp_path / "large.npz"
    shape = {"descr": "|u1", "fortran_order": False, "shape": (2**50, 50, 50)}
    with zipfile.ZipFile(path, "w") as file, file.open("images.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, shape)
    with pytest.raises(DataError, match=r"large\.npz: cannot be read as an \.npz file"):
        load_canvases(path)


def test_writing_where_one_cannot_leaves_nothing(tmp_path, spec, squares):
    (tmp_path / "file").write_text("")
    canvases = CanvasDataset(squares.images, squares.labels, "squares")
    with pytest.raises(DataError, match="cannot be written"):
        save_canvases(tmp_path / "file" / "c.npz", canvases)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_planned_file_is_made_once_and_never_mixed(tmp_path, spec):
    write_mnist(tmp_path / "mnist", "t10k", 9)
    plan = CanvasPlan(spec, count=6, seed=1, split="test")
    out = tmp_path / "out"
    path = write_multi_mnist(out, plan, mnist_folder=tmp_path / "mnist")
    content = path.read_bytes()
    assert path == out / "multi_mnist_test.npz"
    write_multi_mnist(out, plan, mnist_folder=tmp_path / "mnist")
    assert path.read_bytes() == content
    with pytest.raises(DataError, match=r"made with other settings \(seed\)"):
        write_multi_mnist(out, CanvasPlan(spec, 6, 2, "test"), mnist_folder=tmp_path / "mnist")
    np.savez(path, **GOOD)
    with pytest.raises(DataError, match="does not say what made it"):
        write_multi_mnist(out, plan, mnist_folder=tmp_path / "mnist")
