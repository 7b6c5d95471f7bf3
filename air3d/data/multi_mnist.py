"""Multi-MNIST: canvases with several digits, made fresh from a seed, and their files."""

import math
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from air3d.data.digits import Digits, load_digits
from air3d.data.errors import DataError
from air3d.scene import GlimpseSpec

__all__ = ["CanvasDataset", "load_canvases", "load_digits", "make_multi_mnist", "save_canvases"]

_CHUNK = 4096
_MAX_REDRAWS = 500


@dataclass(frozen=True)
class CanvasDataset:
    """Canvases and how many digits each one shows.

    Attributes:
        images: [n, H, W], white (255) on black.
        counts: [n].
        source: where the digits come from, to be repeated beside every figure.
    """

    images: UInt8[Tensor, "canvas height width"]
    counts: Int[Tensor, " canvas"]
    source: str

    def __len__(self) -> int:
        return len(self.images)


def make_multi_mnist(spec: GlimpseSpec, digits: Digits, count: int, seed: int) -> CanvasDataset:
    """Draw ``count`` canvases; the same seed and digits give the same canvases.

    Each canvas has n digits, n from ``spec.count``. A digit is picked at random, its 28x28
    pixels are scaled by 1 / N(mean, std), and the window goes to a uniform place inside the
    canvas, both in whole pixels. Digits add up; a canvas in which a pixel exceeds ``overlap_limit`` is drawn anew
    with the same n (so the limit does not change the distribution of counts).

    This follows the generator of Pyro's AIR example (``pyro.contrib.examples.multi_mnist``),
    itself after Eslami et al. 2016, sizes and places included. Differences: pixels are
    interpolated linearly, where Pyro leaves the choice to Pillow (bicubic at present); a window
    is never larger than the canvas; the random numbers, hence the single images, are others.

    Raises:
        DataError: no canvas under the limit is found, because too many digits are asked for.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor(spec.count, dtype=torch.float64)
    counts = torch.multinomial(weights, count, replacement=True, generator=generator)
    chunks = [_draw(spec, digits, part, generator) for part in counts.split(_CHUNK)]
    return CanvasDataset(torch.cat(chunks), counts, digits.source)


def _draw(
    spec: GlimpseSpec, digits: Digits, counts: Int[Tensor, " canvas"], generator: torch.Generator
) -> UInt8[Tensor, "canvas height width"]:
    """Draw one canvas per count, repeating those that exceed the limit."""
    images = torch.empty(len(counts), *spec.image_size, dtype=torch.uint8)
    pending = torch.arange(len(counts))
    for _ in range(_MAX_REDRAWS):
        sums = _paint(spec, digits, counts[pending], generator)
        good = sums.amax(dim=(1, 2)) <= spec.glyphs.overlap_limit
        images[pending[good]] = sums[good].clamp(max=255).to(torch.uint8)
        pending = pending[~good]
        if len(pending) == 0:
            return images
    raise DataError(
        f"{spec.name}: found no canvas of {int(counts[pending].max())} digits on "
        f"{spec.image_size} pixels under overlap_limit {spec.glyphs.overlap_limit} in "
        f"{_MAX_REDRAWS} attempts; ask for fewer or smaller digits, or raise the limit"
    )


def _paint(
    spec: GlimpseSpec, digits: Digits, counts: Int[Tensor, " canvas"], generator: torch.Generator
) -> Float[Tensor, "canvas height width"]:
    """Put ``counts`` random digits on each canvas; whole grey values, summed without a limit."""
    height, width = spec.image_size
    owner = torch.repeat_interleave(torch.arange(len(counts)), counts)
    which = torch.randint(len(digits), owner.shape, generator=generator)
    noise = torch.randn(owner.shape, generator=generator)
    scale = spec.glyphs.size_mean + spec.glyphs.size_std * noise
    side = (28.0 / scale.clamp(min=28.0 / min(height, width))).floor()
    free = torch.tensor([height, width]) - side[:, None]
    top, left = (free * torch.rand(*owner.shape, 2, generator=generator)).floor().unbind(1)
    rows = _interpolation(top, side, height)
    columns = _interpolation(left, side, width)
    painted = rows @ digits.images[which].float() @ columns.transpose(1, 2)
    # Rounded digit by digit, so that the limit compares whole numbers, as grey values are.
    return torch.zeros(len(counts), height, width).index_add_(0, owner, painted.round())


def _interpolation(
    start: Float[Tensor, " digit"], side: Float[Tensor, " digit"], length: int
) -> Float[Tensor, "digit pixel 28"]:
    """Return, per canvas pixel of one axis, the linear weights of the digit's 28 pixels.

    A window that is upright makes bilinear interpolation the product of two such matrices.
    """
    centre = torch.arange(length) + 0.5
    place = (centre - start[:, None]) * (28.0 / side[:, None]) - 0.5
    return (1.0 - (place[:, :, None] - torch.arange(28)).abs()).clamp(min=0.0)


def save_canvases(path: str | Path, canvases: CanvasDataset) -> None:
    """Write canvases to an ``.npz`` file (keys ``images``, ``counts``, ``source``).

    The file appears complete or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                images=canvases.images.numpy(),
                counts=canvases.counts.numpy(),
                source=np.array(canvases.source),
            )
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({error}); choose another folder") from error


def load_canvases(path: str | Path) -> CanvasDataset:
    """Read an ``.npz`` with ``images`` (uint8, [n, H, W]) and ``counts`` (whole numbers, [n]).

    A key ``source`` (text) is optional.

    Raises:
        DataError: the file is missing, truncated or empty, lacks a key, or has arrays of
            another type or shape.
    """
    path = Path(path)
    try:
        with np.load(path) as file:
            content = {key: file[key] for key in ("images", "counts", "source") if key in file}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(
            f"{path}: cannot be read as an .npz file ({error}); make it anew"
        ) from error
    for key in ("images", "counts"):
        if key not in content:
            raise DataError(f"{path}: has no array '{key}'; save it with images= and counts=")
    images, counts = content["images"], content["counts"]
    _check_arrays(path, images, counts)
    source = str(content.get("source", path.name))
    return CanvasDataset(torch.tensor(images), torch.tensor(counts.astype(np.int64)), source)


def _check_arrays(path: Path, images: np.ndarray, counts: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or math.prod(images.shape[1:]) == 0:
        raise DataError(
            f"{path}: 'images' must be uint8 of shape [n, height, width], "
            f"is {images.dtype} of shape {list(images.shape)}"
        )
    if len(images) == 0:
        raise DataError(f"{path}: holds no images; make the data set with at least one")
    if counts.dtype.kind not in "iu" or counts.shape != (len(images),):
        raise DataError(
            f"{path}: 'counts' must be whole numbers, one per image ([{len(images)}]), "
            f"is {counts.dtype} of shape {list(counts.shape)}"
        )
    if counts.min() < 0:
        raise DataError(f"{path}: 'counts' holds a negative number; counts start at 0")
