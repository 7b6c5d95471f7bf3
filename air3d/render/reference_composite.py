"""Compositing in plain torch: float32 or float64, any device. The twin of the fast path."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.checks import check_selection
from air3d.render.images import Background
from air3d.render.layers import Composite, Layers, Painting
from air3d.render.reference import masked_softmax


def composite(
    layers: Layers, selection: Int[Tensor, "image slot"], background: Background
) -> Composite:
    """Merge the selected layers of every scene; see :func:`air3d.render.composite`."""
    chosen = _select(layers, selection)
    share = masked_softmax(chosen.log_weight, dim=2)
    alpha = _alpha(chosen)
    rgb = (share[..., None] * chosen.colour).sum(dim=2)
    behind = background if background.dim() == 1 else background[:, None]
    depth = None if chosen.depth is None else (share * chosen.depth).sum(dim=2)
    return Composite(rgb * alpha[..., None] + behind * (1.0 - alpha[..., None]), alpha, depth)


def squared_error(
    layers: Layers,
    selection: Int[Tensor, "image slot"],
    background: Background,
    images: Float[Tensor, "batch height width 3"],
) -> Float[Tensor, "batch image"]:
    """Sum squared differences from the images; see :func:`air3d.render.squared_error`."""
    difference = composite(layers, selection, background).rgb - images[:, None]
    return difference.square().flatten(2).sum(dim=2, dtype=torch.float64).to(images.dtype)


def visibility(
    layers: Layers, selection: Int[Tensor, "image slot"]
) -> Float[Tensor, "batch image slot height width"]:
    """Return each slot's share of the pixels; see :func:`air3d.render.visibility`."""
    chosen = _select(layers, selection)
    return masked_softmax(chosen.log_weight, dim=2) * _alpha(chosen)[:, :, None]


def expected_composite(
    layers: Layers, presence: Float[Tensor, "batch object"], background: Background
) -> Composite:
    """Average all subsets' images; see :func:`air3d.render.expected_composite`."""
    return mean_of_subsets(composite, layers, presence, background)


def mean_of_subsets(
    merge: Callable[[Layers, Tensor, Tensor], Composite],
    layers: Layers,
    presence: Float[Tensor, "batch object"],
    background: Background,
) -> Composite:
    """Average all subsets' images, which ``merge`` composites."""
    every = torch.arange(presence.shape[1], device=presence.device)
    subset = torch.arange(2 ** len(every), device=presence.device)[:, None]
    member = (subset >> every.flip(0)) & 1 == 1
    images = merge(layers, torch.where(member, every, -1), background)
    chance = torch.where(member, presence[:, None], 1.0 - presence[:, None]).prod(dim=2)

    def mean(part: Tensor) -> Tensor:
        return torch.einsum("bs,bs...->b...", chance, part)

    depth = None if images.depth is None else mean(images.depth)
    return Composite(mean(images.rgb), mean(images.alpha), depth)


def paint(painting: Painting, layers: Layers, row: Int[Tensor, " row"]) -> None:
    """Merge one object into each row's layer; see :func:`air3d.render.paint`."""
    row = row.to(layers.colour.device, non_blocking=True)
    merged, added = painting.merged, _select(layers, torch.tensor([[0]]))
    log_weight = torch.stack([merged.log_weight[row], added.log_weight[:, :, 0]])
    share = masked_softmax(log_weight, dim=0)[..., None]
    merged.colour[row] = share[0] * merged.colour[row] + share[1] * added.colour[:, :, 0]
    merged.log_weight[row] = log_weight.logsumexp(dim=0)
    merged.log_transmittance[row] += added.log_transmittance[:, :, 0]
    alpha = -torch.expm1(merged.log_transmittance[row, 0])[..., None]
    background = painting.background
    behind = background[row] if background.dim() > 1 and len(background) > 1 else background
    painting.rgb[row] = merged.colour[row, 0] * alpha + behind * (1.0 - alpha)


def _select(layers: Layers, selection: Tensor) -> Layers:
    """Return the layers of every slot of every image, [batch, image, slot, height, width, ...].

    A layer that has no weight at a pixel is not there, whatever its transmittance.
    """
    check_selection(selection, layers.log_weight.shape[1])
    selection = selection.to(layers.colour.device, non_blocking=True)
    number = layers.log_weight.shape[1]
    chosen = selection.clamp(0, max(number - 1, 0))
    absent = (selection != chosen)[None, :, :, None, None]
    log_weight = layers.log_weight[:, chosen].masked_fill(absent, -math.inf)
    log_transmittance = layers.log_transmittance[:, chosen].clamp(max=0.0)
    return Layers(
        colour=layers.colour[:, chosen],
        log_weight=log_weight,
        log_transmittance=torch.where(log_weight != -math.inf, log_transmittance, 0.0),
        depth=None if layers.depth is None else layers.depth[:, chosen],
    )


def _alpha(chosen: Layers) -> Float[Tensor, "batch image height width"]:
    return -torch.expm1(chosen.log_transmittance.sum(dim=2))
