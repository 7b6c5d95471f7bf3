"""Multi-MNIST: canvases with several digits, made fresh from a seed."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from air3d.data.canvases import CanvasDataset, save_canvases, saved_settings
from air3d.data.digits import Digits, Split, load_digits
from air3d.data.errors import DataError
from air3d.data.record import check_settings
from air3d.scene import GlimpseSpec
from air3d.threads import one_thread
from air3d.version import __version__

_CHUNK = 256  # canvases at a time: few enough for a processor's cache
_MAX_REDRAWS = 500


def make_multi_mnist(spec: GlimpseSpec, digits: Digits, count: int, seed: int) -> CanvasDataset:
    """Draw ``count`` canvases; the same seed and digits give the same canvases.

    Each canvas has n digits, n from ``spec.count``. A digit is picked at random, its 28x28
    pixels are scaled by 1 / N(mean, std), and the window goes to a uniform place inside the
    canvas, both in whole pixels. Digits add up; a canvas in which a pixel exceeds
    ``overlap_limit`` is drawn anew with the same n (so the limit does not change the
    distribution of counts).

    This follows the generator of Pyro's AIR example (``pyro.contrib.examples.multi_mnist``),
    itself after Eslami et al. 2016, sizes and places included. Differences: pixels are
    interpolated linearly, where Pyro leaves the choice to Pillow (bicubic at present); a window
    is never larger than the canvas; the random numbers, hence the single images, are others.

    Raises:
        DataError: ``count`` or ``seed`` is out of range, or no canvas under the limit is found,
            because too many digits are asked for.
    """
    _check(count, seed)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor(spec.count, dtype=torch.float64)
    counts = torch.multinomial(weights, count, replacement=True, generator=generator)
    with one_thread():
        images = _draw(spec, digits, counts, generator)
    return CanvasDataset(images, counts, digits.source)


def _check(count: int, seed: int) -> None:
    if count < 1:
        raise DataError(f"count must be at least 1, got {count}")
    if not 0 <= seed < 2**64:
        raise DataError(f"seed must be 0 to 2**64 - 1, got {seed}")


def _draw(
    spec: GlimpseSpec, digits: Digits, counts: Int[Tensor, " canvas"], generator: torch.Generator
) -> UInt8[Tensor, "canvas height width"]:
    """Draw one canvas per count, repeating those that exceed the limit."""
    images = torch.empty(len(counts), *spec.image_size, dtype=torch.uint8)
    pending = torch.arange(len(counts))
    for _ in range(_MAX_REDRAWS):
        rejected = []
        for part in pending.split(_CHUNK):
            sums = _paint(spec, digits, counts[part], generator)
            good = sums.amax(dim=(1, 2)) <= spec.glyphs.overlap_limit
            images[part[good]] = sums[good].clamp(max=255).to(torch.uint8)
            rejected.append(part[~good])
        pending = torch.cat(rejected)
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


@dataclass(frozen=True)
class CanvasPlan:
    """What a file of canvases is to hold.

    Attributes:
        spec: the scene file.
        count: number of canvases.
        seed: of the canvases.
        split: which of MNIST's digits they show.
    """

    spec: GlimpseSpec
    count: int
    seed: int
    split: Split

    def __post_init__(self):
        _check(self.count, self.seed)

    def settings(self, source: str) -> dict:
        """What the file records of its making; equal settings give equal canvases."""
        return {
            "scene": self.spec.model_dump(mode="json"),
            "count": self.count,
            "seed": self.seed,
            "split": self.split,
            "digits": source,
            "air3d_version": __version__,
        }


def write_multi_mnist(out: Path, plan: CanvasPlan, *, mnist_folder: Path | None = None) -> Path:
    """Make canvases and write them to ``out/NAME_SPLIT.npz``; return that path.

    A file that is there already and was made with the same settings is left as it is.

    Raises:
        DataError: as :func:`load_digits` and :func:`make_multi_mnist`; ``out`` cannot be
            written; or a file of that name is there and was made otherwise.
    """
    path = out / f"{plan.spec.name}_{plan.split}.npz"
    digits = load_digits(plan.split, folder=mnist_folder)
    settings = plan.settings(digits.source)
    if path.exists():
        check_settings(path, saved_settings(path), settings)
        return path
    canvases = make_multi_mnist(plan.spec, digits, plan.count, plan.seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made ({error}); choose another --out") from error
    save_canvases(path, canvases, settings=settings)
    return path
