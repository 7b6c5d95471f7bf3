"""Trace the ground's pixels, bands of rows spread over threads."""

import math

import torch
from torch import Tensor

from air3d.render.cpu import ground_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.ground_view import GroundView
from air3d.render.instances import exact_centres
from air3d.render.layers import Layers, blur_radius
from air3d.scene.spec import RenderSpec

# Pixels that make a band worth a thread's while.
_BAND = 4096


def trace_ground(view: GroundView, softness: RenderSpec) -> Layers:
    """Return the plane as a layer, [batch, height, width]; gradients reach the view."""
    parts = (view.coordinates, view.drop[:, None], view.lamp, view.shades, view.edges)
    params = torch.cat([part.flatten(1) for part in parts], dim=1)
    fall = 1.0 / ((softness.far - softness.near) * softness.gamma)
    settings = [1.0 / softness.sigma, math.sqrt(blur_radius(softness.sigma)), softness.far * fall]
    settings += [fall, view.pixel, view.squares]
    return Layers(*_trace(params, list(view.image_size), settings))


@torch.library.custom_op("air3d::trace_ground", mutates_args=())
def _trace(
    params: Tensor, image_size: list[int], settings: list[float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``params`` and ``settings``: see the kernels."""
    maps = _empty_maps(params, image_size)
    inputs = [*_inputs(params, image_size, settings), tuple(arrays(*maps))]
    for_ranges(ground_kernels.trace, len(params) * _bands(image_size), inputs)
    return maps


@_trace.register_fake
def _(params, image_size, settings):
    return _empty_maps(params, image_size)


@torch.library.custom_op("air3d::trace_ground_backward", mutates_args=())
def _trace_backward(
    params: Tensor, image_size: list[int], settings: list[float], upstream: list[Tensor]
) -> Tensor:
    bands = _bands(image_size)
    grads = params.new_empty(len(params), bands, params.shape[1], dtype=torch.float64)
    inputs = _inputs(params, image_size, settings)
    inputs += [tuple(arrays(*upstream)), *arrays(grads.flatten(0, 1))]
    for_ranges(ground_kernels.trace_backward, len(params) * bands, inputs)
    return grads.sum(dim=1).to(params.dtype)


@_trace_backward.register_fake
def _(params, image_size, settings, upstream):
    return params.new_empty(params.shape)


def _save(ctx, inputs, output):
    params, ctx.image_size, ctx.settings = inputs
    ctx.save_for_backward(params)


def _backward(ctx, *upstream):
    (params,) = ctx.saved_tensors
    return _trace_backward(params, ctx.image_size, ctx.settings, list(upstream)), None, None


_trace.register_autograd(_backward, setup_context=_save)


def _inputs(params: Tensor, image_size: list[int], settings: list[float]) -> list:
    """Return what both kernels are given first."""
    places = arrays(*exact_centres(image_size, params))
    return [*arrays(params), *places, _rows(image_size), *arrays(params.new_tensor(settings))]


def _rows(image_size: list[int]) -> int:
    """Return how many rows make a band."""
    return max(1, _BAND // image_size[1])


def _bands(image_size: list[int]) -> int:
    """Return how many bands an image is cut into."""
    return -(-image_size[0] // _rows(image_size))


def _empty_maps(params: Tensor, image_size: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tensors to be filled with colour, log-weight, log-transmittance and depth."""
    shape = (len(params), *image_size)
    colour = params.new_empty(*shape, 3)
    return colour, params.new_empty(shape), params.new_empty(shape), params.new_empty(shape)
