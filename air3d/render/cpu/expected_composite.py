"""Average the images of all subsets of layers, each there with a probability of its own."""

import torch
from jaxtyping import Float
from torch import Tensor

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
from air3d.render.layers import Composite, Layers
from air3d.render.merging import composite_by, empty_gradients
from air3d.render.operations import empty_like


def expected_composite(
    layers: Layers, presence: Float[Tensor, "batch object"], background: Background
) -> Composite:
    """Average all subsets' images; see :func:`air3d.render.expected_composite`."""
    return composite_by(_expected, layers, presence, background)


@torch.library.custom_op("air3d::expected_composite", mutates_args=())
def _expected(
    colour: Tensor,
    log_weight: Tensor,
    log_transmittance: Tensor,
    depth: Tensor,
    background: Tensor,
    presence: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    images = _empty_images(log_weight, depth)
    layers = flat(colour, log_weight, log_transmittance, depth)
    inputs = [layers, behind(background, log_weight), *arrays(presence), flat_images(*images)]
    for_ranges(composite_kernels.expected, num_bands(log_weight), inputs)
    return images


@_expected.register_fake
def _(colour, log_weight, log_transmittance, depth, background, presence):
    return _empty_images(log_weight, depth)


@torch.library.custom_op("air3d::expected_composite_backward", mutates_args=())
def _expected_backward(
    layers: list[Tensor],
    background: Tensor,
    presence: Tensor,
    upstream: list[Tensor],
    wants_background: bool,
) -> list[Tensor]:
    """``layers``: their four maps; ``upstream``: gradients of rgb, alpha and depth."""
    log_weight = layers[1]
    grads = empty_gradients(layers)
    by_pixel = empty_behind(log_weight, wants_background)
    bands = num_bands(log_weight)
    by_presence = presence.new_empty(bands, presence.shape[1], dtype=torch.float64)
    inputs = [flat(*layers), behind(background, log_weight), *arrays(presence)]
    inputs += [flat_images(*upstream), flat(*grads), *arrays(by_pixel, by_presence)]
    for_ranges(composite_kernels.expected_backward, bands, inputs)
    by_scene = by_presence.unflatten(0, (len(presence), bands // max(len(presence), 1)))
    total = by_scene.sum(dim=1).to(presence.dtype)
    return [*grads, sum_behind(by_pixel, background), total]


@_expected_backward.register_fake
def _(layers, background, presence, upstream, wants_background):
    return [
        *empty_gradients(layers),
        empty_like(background),
        empty_like(presence),
    ]


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, *upstream):
    *layers, background, presence = ctx.saved_tensors
    return tuple(
        _expected_backward(layers, background, presence, list(upstream), ctx.needs_input_grad[4])
    )


_expected.register_autograd(_backward, setup_context=_save)


def _empty_images(log_weight: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return tensors to be filled with rgb, alpha and, if the layers have it, depth."""
    batch, _, height, width = log_weight.shape
    shape = (batch, height, width)
    depth_shape = shape if depth.shape[2] else (0, 0, 0)
    rgb, alpha = log_weight.new_empty(*shape, 3), log_weight.new_empty(shape)
    return rgb, alpha, log_weight.new_empty(depth_shape)
