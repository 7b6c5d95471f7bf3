"""Layers, backgrounds and their gradients as the compositing kernels want them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from air3d.render.cuda.launch import blocks

PIXELS = 128
"""Pixels that a compositing program works on."""


def num_blocks(log_weight: Tensor) -> int:
    """Return how many blocks the pixels of an image are cut into."""
    return blocks(log_weight.shape[2:].numel(), PIXELS)


def on_device(selection: Tensor, like: Tensor) -> Tensor:
    """Return a selection where layers are, without waiting for them."""
    return selection.to(like.device, non_blocking=True).contiguous()


def sizes(log_weight: Tensor, selection: Tensor, background: Tensor) -> list[int]:
    """Return the images, slots, layers and pixels, and the background's two steps."""
    pixels = log_weight.shape[2:].numel()
    scene_step = 3 * pixels if background.dim() > 1 and len(background) > 1 else 0
    pixel_step = 3 if background.dim() > 1 else 0
    return [*selection.shape, log_weight.shape[1], pixels, scene_step, pixel_step]


def empty_behind(log_weight: Tensor, wanted: bool) -> Tensor:
    """Return what takes a gradient [scene, height, width, 3]; empty if not wanted."""
    batch, _, height, width = log_weight.shape
    return log_weight.new_empty(batch if wanted else 0, height, width, 3)


def sum_behind(by_pixel: Tensor, background: Tensor) -> Tensor:
    """Sum a gradient [scene, height, width, 3] to the background's shape; 0 if it is empty."""
    if len(by_pixel) == 0:
        return torch.zeros_like(background, memory_format=torch.contiguous_format)
    if background.dim() > 1 and len(background) == len(by_pixel):
        return by_pixel
    shared: Sequence[int] = (0,) if background.dim() > 1 else (0, 1, 2)
    total = by_pixel.sum(dim=shared, keepdim=background.dim() > 1, dtype=torch.float64)
    return total.to(background.dtype)
