"""Say which part of a pixel each layer shows, one range of scenes per thread."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.checks import check_selection
from air3d.render.cpu import visibility_kernels
from air3d.render.cpu.bands import flat
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.layers import Layers
from air3d.render.merging import empty_gradients


def visibility(
    layers: Layers, selection: Int[Tensor, "image slot"]
) -> Float[Tensor, "batch image slot height width"]:
    """Return each slot's share of the pixels; see :func:`air3d.render.visibility`."""
    return _visibility(layers.log_weight, layers.log_transmittance, selection)


@torch.library.custom_op("air3d::visibility", mutates_args=())
def _visibility(log_weight: Tensor, log_transmittance: Tensor, selection: Tensor) -> Tensor:
    check_selection(selection, log_weight.shape[1])
    visible = _empty(log_weight, selection)
    inputs = [*flat(log_weight, log_transmittance), *arrays(selection, visible.flatten(3))]
    for_ranges(visibility_kernels.visibility, len(log_weight), inputs)
    return visible


@_visibility.register_fake
def _(log_weight, log_transmittance, selection):
    return _empty(log_weight, selection)


@torch.library.custom_op("air3d::visibility_backward", mutates_args=())
def _visibility_backward(
    log_weight: Tensor, log_transmittance: Tensor, selection: Tensor, upstream: Tensor
) -> list[Tensor]:
    grads = empty_gradients([log_weight, log_transmittance])
    inputs = [*flat(log_weight, log_transmittance), *arrays(selection, upstream.flatten(3))]
    for_ranges(visibility_kernels.visibility_backward, len(log_weight), [*inputs, *flat(*grads)])
    return grads


@_visibility_backward.register_fake
def _(log_weight, log_transmittance, selection, upstream):
    return empty_gradients([log_weight, log_transmittance])


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, upstream):
    return *_visibility_backward(*ctx.saved_tensors, upstream), None


_visibility.register_autograd(_backward, setup_context=_save)


def _empty(log_weight: Tensor, selection: Tensor) -> Tensor:
    """Return what is to be filled."""
    batch, _, height, width = log_weight.shape
    return log_weight.new_empty(batch, *selection.shape, height, width)
