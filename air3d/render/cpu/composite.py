"""Merge layers into images, one range of scenes per thread."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.cpu import composite_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.layers import Layers


def composite(
    layers: Layers, selection: Int[Tensor, "image layer"], background: Float[Tensor, "3"]
) -> tuple[Tensor, Tensor]:
    """Return rgb [B, P, H, W, 3] and alpha [B, P, H, W] of the selected layers' merger."""
    return _composite(
        layers.colour, layers.log_weight, layers.log_transmittance, background, selection
    )


@torch.library.custom_op("air3d::composite", mutates_args=())
def _composite(
    colour: Tensor,
    log_weight: Tensor,
    log_transmittance: Tensor,
    background: Tensor,
    selection: Tensor,
) -> tuple[Tensor, Tensor]:
    rgb, alpha = _empty_images(log_weight, selection)
    maps = _flat(colour, log_weight, log_transmittance, rgb, alpha)
    for_ranges(composite_kernels.composite, len(colour), arrays(selection, background, *maps))
    return rgb, alpha


@_composite.register_fake
def _(colour, log_weight, log_transmittance, background, selection):
    return _empty_images(log_weight, selection)


@torch.library.custom_op("air3d::composite_backward", mutates_args=())
def _composite_backward(
    maps: list[Tensor],
    background: Tensor,
    selection: Tensor,
    grad_rgb: Tensor,
    grad_alpha: Tensor,
    wants_background: bool,
) -> list[Tensor]:
    """``maps``: colour, log-weight and log-transmittance."""
    grads = [torch.empty_like(m, memory_format=torch.contiguous_format) for m in maps]
    # In float64, as it sums over every pixel of an image; empty where nobody asks for it.
    rows = len(grad_rgb) if wants_background else 0
    grad_background = background.new_empty(rows, 3, dtype=torch.float64)
    flat = _flat(*maps, grad_rgb, grad_alpha, *grads)
    inputs = arrays(selection, background, *flat, grad_background)
    for_ranges(composite_kernels.composite_backward, len(grad_rgb), inputs)
    return [*grads, grad_background.sum(dim=0).to(background.dtype)]


@_composite_backward.register_fake
def _(maps, background, selection, grad_rgb, grad_alpha, wants_background):
    grads = [torch.empty_like(m, memory_format=torch.contiguous_format) for m in maps]
    return [*grads, background.new_empty(3)]


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad_rgb, grad_alpha):
    *maps, background, selection = ctx.saved_tensors
    grads = _composite_backward(
        maps, background, selection, grad_rgb, grad_alpha, ctx.needs_input_grad[3]
    )
    return *grads, None


_composite.register_autograd(_backward, setup_context=_save)


def _empty_images(log_weight: Tensor, selection: Tensor) -> tuple[Tensor, Tensor]:
    """Return tensors to be filled with rgb and alpha."""
    batch, _, height, width = log_weight.shape
    shape = (batch, len(selection), height, width)
    return log_weight.new_empty(*shape, 3), log_weight.new_empty(shape)


def _flat(*maps: Tensor) -> list[Tensor]:
    """Put the pixels of maps [B, N, H, W, ...] into one dimension."""
    return [part.contiguous().flatten(2, 3) for part in maps]
