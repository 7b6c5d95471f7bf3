"""Compare composited images with pictures, without ever storing them."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.checks import check_selection
from air3d.render.cpu import composite_kernels
from air3d.render.cpu.bands import (
    behind,
    empty_behind,
    empty_gradients,
    flat,
    flat_images,
    maps_of,
    num_bands,
    sum_behind,
)
from air3d.render.cpu.threads import arrays, empty_like, for_ranges
from air3d.render.images import Background
from air3d.render.layers import Layers


def squared_error(
    layers: Layers,
    selection: Int[Tensor, "image slot"],
    background: Background,
    images: Float[Tensor, "batch height width 3"],
) -> Float[Tensor, "batch image"]:
    """Sum squared differences from the images; see :func:`air3d.render.squared_error`."""
    coloured = replace(layers, depth=None)  # which changes no colour
    return _squared_error(*maps_of(coloured), background, images, selection)


@torch.library.custom_op("air3d::squared_error", mutates_args=())
def _squared_error(
    colour: Tensor,
    log_weight: Tensor,
    log_transmittance: Tensor,
    depth: Tensor,
    background: Tensor,
    images: Tensor,
    selection: Tensor,
) -> Tensor:
    check_selection(selection, log_weight.shape[1])
    bands = num_bands(log_weight)
    errors = log_weight.new_empty(bands, len(selection), dtype=torch.float64)
    inputs = [flat(colour, log_weight, log_transmittance, depth), behind(background, log_weight)]
    inputs += arrays(selection) + [*flat_images(images), *arrays(errors)]
    for_ranges(composite_kernels.squared_error, bands, inputs)
    by_scene = errors.unflatten(0, (len(log_weight), bands // max(len(log_weight), 1)))
    return by_scene.sum(dim=1).to(log_weight.dtype)


@_squared_error.register_fake
def _(colour, log_weight, log_transmittance, depth, background, images, selection):
    return log_weight.new_empty(len(log_weight), len(selection))


@torch.library.custom_op("air3d::squared_error_backward", mutates_args=())
def _squared_error_backward(
    layers: list[Tensor],
    background: Tensor,
    images: Tensor,
    selection: Tensor,
    upstream: Tensor,
    wants_background: bool,
    wants_images: bool,
) -> list[Tensor]:
    """``layers``: their four maps; ``upstream``: the gradient of the errors."""
    log_weight = layers[1]
    grads = empty_gradients(layers)
    by_pixel = empty_behind(log_weight, wants_background)
    by_image = images.new_empty(images.shape if wants_images else (0, 0, 0, 3))
    inputs = [flat(*layers), behind(background, log_weight), *arrays(selection)]
    inputs += [*flat_images(images), *arrays(upstream), flat(*grads)]
    inputs += [*arrays(by_pixel), *flat_images(by_image)]
    for_ranges(composite_kernels.squared_error_backward, num_bands(log_weight), inputs)
    return [*grads, sum_behind(by_pixel, background), by_image]


@_squared_error_backward.register_fake
def _(layers, background, images, selection, upstream, wants_background, wants_images):
    by_image = images.new_empty(images.shape if wants_images else (0, 0, 0, 3))
    return [*empty_gradients(layers), empty_like(background), by_image]


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, upstream):
    *layers, background, images, selection = ctx.saved_tensors
    wanted = ctx.needs_input_grad[4:6]
    *grads, by_image = _squared_error_backward(
        layers, background, images, selection, upstream, *wanted
    )
    return *grads, by_image if wanted[1] else None, None


_squared_error.register_autograd(_backward, setup_context=_save)
