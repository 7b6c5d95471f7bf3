"""Merge layers into images, bands of pixels spread over threads."""

import torch
from jaxtyping import Int
from torch import Tensor

from air3d.render.checks import check_selection
from air3d.render.cpu import composite_kernels
from air3d.render.cpu.bands import (
    behind,
    empty_behind,
    empty_gradients,
    flat,
    maps_of,
    num_bands,
    sum_behind,
)
from air3d.render.cpu.threads import arrays, empty_like, for_ranges
from air3d.render.images import Background
from air3d.render.layers import Composite, Layers


def composite(
    layers: Layers, selection: Int[Tensor, "image slot"], background: Background
) -> Composite:
    """Merge the selected layers of every scene; see :func:`air3d.render.composite`."""
    rgb, alpha, depth = _composite(*maps_of(layers), background, selection)
    return Composite(rgb, alpha, None if layers.depth is None else depth)


@torch.library.custom_op("air3d::composite", mutates_args=())
def _composite(
    colour: Tensor,
    log_weight: Tensor,
    log_transmittance: Tensor,
    depth: Tensor,
    background: Tensor,
    selection: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    check_selection(selection, log_weight.shape[1])
    images = _empty_images(log_weight, depth, selection)
    layers = flat(colour, log_weight, log_transmittance, depth)
    inputs = [layers, behind(background, log_weight), *arrays(selection), flat(*images)]
    for_ranges(composite_kernels.composite, num_bands(log_weight), inputs)
    return images


@_composite.register_fake
def _(colour, log_weight, log_transmittance, depth, background, selection):
    return _empty_images(log_weight, depth, selection)


@torch.library.custom_op("air3d::composite_backward", mutates_args=())
def _composite_backward(
    layers: list[Tensor],
    background: Tensor,
    selection: Tensor,
    upstream: list[Tensor],
    wants_background: bool,
) -> list[Tensor]:
    """``layers``: their four maps; ``upstream``: gradients of rgb, alpha and depth."""
    log_weight = layers[1]
    grads = empty_gradients(layers)
    by_pixel = empty_behind(log_weight, wants_background)
    inputs = [flat(*layers), behind(background, log_weight), *arrays(selection), flat(*upstream)]
    inputs += [flat(*grads), *arrays(by_pixel)]
    for_ranges(composite_kernels.composite_backward, num_bands(log_weight), inputs)
    return [*grads, sum_behind(by_pixel, background)]


@_composite_backward.register_fake
def _(layers, background, selection, upstream, wants_background):
    return [*empty_gradients(layers), empty_like(background)]


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, *upstream):
    *layers, background, selection = ctx.saved_tensors
    wanted = ctx.needs_input_grad[4]
    grads = _composite_backward(layers, background, selection, list(upstream), wanted)
    return *grads, None


_composite.register_autograd(_backward, setup_context=_save)


def _empty_images(
    log_weight: Tensor, depth: Tensor, selection: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tensors to be filled with rgb, alpha and, if the layers have it, depth."""
    batch, _, height, width = log_weight.shape
    shape = (batch, len(selection), height, width)
    depth_shape = shape if depth.shape[2] else (0, 0, 0, 0)
    rgb, alpha = log_weight.new_empty(*shape, 3), log_weight.new_empty(shape)
    return rgb, alpha, log_weight.new_empty(depth_shape)
