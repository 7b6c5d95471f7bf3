"""Square windows of an image: read a glimpse out of one, paint a patch into one.

The spatial transformer of Jaderberg et al. 2015, restricted to AIR's translation and scale.
Bilinear, with zeros outside. As the transform is separable it could be two matrix products, which
take two to five times as long.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


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
    return _resample(image, windows.centre, windows.half_side, (size, size))


def paint_patch(
    patch: Float[Tensor, "batch channel size size"], windows: Windows, image_size: tuple[int, int]
) -> Float[Tensor, "batch channel height width"]:
    """Resample a patch into its window on a canvas of zeros; gradients reach both arguments."""
    return _resample(patch, -windows.centre / windows.half_side, 1 / windows.half_side, image_size)


def _resample(
    image: Float[Tensor, "batch channel height width"],
    shift: Float[Tensor, "batch 2"],
    scale: Float[Tensor, "batch 2"],
    size: tuple[int, int],
) -> Float[Tensor, "batch channel rows columns"]:
    """Look up the places ``shift + scale * place`` of the image for each place of the result."""
    affine = torch.cat([torch.diag_embed(scale), shift[:, :, None]], dim=2)
    grid = nn.functional.affine_grid(affine, [*image.shape[:2], *size], align_corners=False)
    return nn.functional.grid_sample(image, grid, align_corners=False)
