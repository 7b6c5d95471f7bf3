"""Compare composited images with pictures, without ever storing them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.checks import check_selection
from air3d.render.cuda import composite_kernels
from air3d.render.cuda.composite import behind_backward, merge_backward
from air3d.render.cuda.images import (
    PIXELS,
    empty_behind,
    num_blocks,
    on_device,
    sizes,
    sum_behind,
)
from air3d.render.cuda.launch import dense, launch
from air3d.render.images import Background
from air3d.render.layers import Layers
from air3d.render.merging import squared_error_by, squared_error_operation


def squared_error(
    layers: Layers,
    selection: Int[Tensor, "image slot"],
    background: Background,
    images: Float[Tensor, "batch height width 3"],
) -> Float[Tensor, "batch image"]:
    """Sum squared differences from the images; see :func:`air3d.render.squared_error`."""
    return squared_error_by(_squared_error, layers, selection, background, images)


def _sums(
    layers: list[Tensor], background: Tensor, images: Tensor, selection: Tensor
) -> Float[Tensor, "batch image"]:
    colour, log_weight, log_transmittance, _ = layers
    check_selection(selection, log_weight.shape[1])
    selection = on_device(selection, log_weight)
    parts = num_blocks(log_weight)
    shape = (len(log_weight), len(selection), parts)
    errors = log_weight.new_empty(shape, dtype=torch.float64)
    launch(
        composite_kernels.squared_error,
        errors.numel(),
        *dense(colour, log_weight, log_transmittance, background),
        selection,
        *dense(images),
        errors,
        *sizes(log_weight, selection, background),
        PIXELS=PIXELS,
        num_warps=4,
    )
    return errors.sum(dim=2).to(log_weight.dtype)


def _gradients(
    layers: list[Tensor],
    background: Tensor,
    images: Tensor,
    selection: Tensor,
    upstream: Tensor,
    wants_background: bool,
    wants_images: bool,
) -> list[Tensor]:
    selection = on_device(selection, layers[1])
    nothing = layers[1].new_empty(0)
    above = [*dense(images), nothing, nothing, nothing, *dense(upstream)]
    grads = merge_backward(layers, background, selection, above)
    wanted = wants_background or wants_images
    by_pixel = empty_behind(layers[1], wanted)
    by_image = empty_behind(layers[1], wanted)
    if wanted:
        behind_backward(layers, background, selection, above, [by_pixel, by_image])
    grad_background = sum_behind(by_pixel, background)
    return [*grads, grad_background, by_image if wants_images else images.new_empty(0, 0, 0, 3)]


_squared_error = squared_error_operation("cuda_squared_error", _sums, _gradients)
