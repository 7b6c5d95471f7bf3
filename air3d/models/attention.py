"""Square windows of an image: read a glimpse out of one, paint a patch into one.

The spatial transformer of Jaderberg et al. 2015, restricted to AIR's translation and scale.
Such a transform is separable, so bilinear resampling with zeros outside is two small matrix
products, ``rows @ image @ columns^T``: on a CPU several times faster than ``grid_sample``.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Square windows, in normalised image coordinates: -1 and 1 are the image's edges.

    Attributes:
        centre: (x, y), x right, y down [B, 2].
        half_side: half the window's side along x and along y [B, 2]; they differ only where
            the image is not square.
    """

    centre: Float[Tensor, "batch 2"]
    half_side: Float[Tensor, "batch 2"]


def read_glimpse(
    image: Float[Tensor, "batch channel height width"], windows: Windows, size: int
) -> Float[Tensor, "batch channel size size"]:
    """Resample what a window shows to ``size`` x ``size``; gradients reach image and window."""
    height, width = image.shape[-2:]
    target = _pixel_centres(size, image)
    columns = _hat(windows.centre[:, :1] + windows.half_side[:, :1] * target, width)
    rows = _hat(windows.centre[:, 1:] + windows.half_side[:, 1:] * target, height)
    return rows[:, None] @ image @ columns[:, None].transpose(-1, -2)


def paint_patch(
    patch: Float[Tensor, "batch channel size size"], windows: Windows, image_size: tuple[int, int]
) -> Float[Tensor, "batch channel height width"]:
    """Resample a patch into its window on a canvas of zeros; gradients reach both arguments."""
    height, width = image_size
    size = patch.shape[-1]
    x = (_pixel_centres(width, patch) - windows.centre[:, :1]) / windows.half_side[:, :1]
    y = (_pixel_centres(height, patch) - windows.centre[:, 1:]) / windows.half_side[:, 1:]
    return _hat(y, size)[:, None] @ patch @ _hat(x, size)[:, None].transpose(-1, -2)


def _pixel_centres(size: int, like: Tensor) -> Float[Tensor, " size"]:
    index = torch.arange(size, device=like.device, dtype=like.dtype)
    return (2 * index + 1) / size - 1


def _hat(position: Float[Tensor, "batch sample"], size: int) -> Float[Tensor, "batch sample size"]:
    """Return the bilinear weight of each of ``size`` pixels at normalised positions."""
    index = torch.arange(size, device=position.device, dtype=position.dtype)
    pixel = ((position + 1) * size - 1) / 2
    return (1 - (pixel[..., None] - index).abs()).clamp(min=0)
