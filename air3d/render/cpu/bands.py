"""Layers, backgrounds and their gradients as the compositing kernels want them."""

import numpy as np
import torch
from torch import Tensor

from air3d.render.cpu import composite_kernels
from air3d.render.cpu.composite_kernels import BAND
from air3d.render.cpu.threads import arrays, for_ranges


def num_bands(log_weight: Tensor) -> int:
    """Return how many bands all scenes' pixels are cut into."""
    batch, _, height, width = log_weight.shape
    return batch * -(-height * width // BAND)


def flat(*maps: Tensor) -> tuple[np.ndarray, ...]:
    """Put the pixels of maps [batch, object, height, width, ...] into one dimension."""
    return tuple(arrays(*(part.contiguous().flatten(2, 3) for part in maps)))


def flat_images(*images: Tensor) -> tuple[np.ndarray, ...]:
    """Put the pixels of images [batch, height, width, ...] into one dimension."""
    return tuple(arrays(*(part.contiguous().flatten(1, 2) for part in images)))


def behind(background: Tensor, log_weight: Tensor) -> np.ndarray:
    """Return the background [scene, pixel, 3], one colour as wide as a band at most."""
    if background.dim() > 1:
        return flat_images(background)[0]
    height, width = log_weight.shape[2:]
    return arrays(background.expand(1, min(height * width, BAND), 3))[0]


def empty_behind(log_weight: Tensor, wanted: bool) -> Tensor:
    """Return what takes the background's gradient, [scene, pixel, 3]; empty if not wanted."""
    batch, _, height, width = log_weight.shape
    return log_weight.new_empty(batch if wanted else 0, height * width, 3)


def sum_behind(by_pixel: Tensor, background: Tensor) -> Tensor:
    """Sum a gradient [scene, pixel, 3] to the background's shape, in float64; 0 if not wanted.

    In the same order whatever the number of threads.
    """
    if len(by_pixel) == 0:
        return torch.zeros_like(background, memory_format=torch.contiguous_format)
    if background.dim() > 1:
        by_pixel = by_pixel.unflatten(1, background.shape[1:3])
        if len(background) == len(by_pixel):
            return by_pixel
        return by_pixel.sum(dim=0, keepdim=True, dtype=torch.float64).to(background.dtype)
    bands = len(by_pixel) * -(-by_pixel.shape[1] // BAND)
    sums = by_pixel.new_empty(bands, 3, dtype=torch.float64)
    for_ranges(composite_kernels.sum_bands, bands, arrays(by_pixel, sums))
    return sums.sum(dim=0).to(background.dtype)
