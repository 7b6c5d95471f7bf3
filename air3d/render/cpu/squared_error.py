"""Compare composited images with pictures, without ever storing them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.checks import check_selection
from air3d.render.cpu import composite_kernels
from air3d.render.cpu.bands import (
    behind,
    empty_behind,
    flat,
    flat_images,
    num_bands,
    sum_behind,
)
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.images import Background
from air3d.render.layers import Layers
from air3d.render.merging import empty_gradients, squared_error_by, squared_error_operation


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
    log_weight = layers[1]
    check_selection(selection, log_weight.shape[1])
    bands = num_bands(log_weight)
    errors = log_weight.new_empty(bands, len(selection), dtype=torch.float64)
    inputs = [flat(*layers), behind(background, log_weight)]
    inputs += arrays(selection) + [*flat_images(images), *arrays(errors)]
    for_ranges(composite_kernels.squared_error, bands, inputs)
    by_scene = errors.unflatten(0, (len(log_weight), bands // max(len(log_weight), 1)))
    return by_scene.sum(dim=1).to(log_weight.dtype)


def _gradients(
    layers: list[Tensor],
    background: Tensor,
    images: Tensor,
    selection: Tensor,
    upstream: Tensor,
    wants_background: bool,
    wants_images: bool,
) -> list[Tensor]:
    log_weight = layers[1]
    grads = empty_gradients(layers)
    by_pixel = empty_behind(log_weight, wants_background)
    by_image = images.new_empty(images.shape if wants_images else (0, 0, 0, 3))
    inputs = [flat(*layers), behind(background, log_weight), *arrays(selection)]
    inputs += [*flat_images(images), *arrays(upstream), flat(*grads)]
    inputs += [*arrays(by_pixel), *flat_images(by_image)]
    for_ranges(composite_kernels.squared_error_backward, num_bands(log_weight), inputs)
    return [*grads, sum_behind(by_pixel, background), by_image]


_squared_error = squared_error_operation("squared_error", _sums, _gradients)
