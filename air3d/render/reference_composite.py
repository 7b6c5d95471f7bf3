"""Compositing in plain torch: any precision and device. The twin of the fast path."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.layers import Layers
from air3d.render.reference import masked_softmax


def composite(
    layers: Layers, selection: Int[Tensor, "image layer"], background: Float[Tensor, "3"]
) -> tuple[Tensor, Tensor]:
    """Return rgb [B, P, H, W, 3] and alpha [B, P, H, W] of the selected layers' merger."""
    selection = selection.to(layers.colour.device)
    chosen = selection.clamp(min=0)
    absent = (selection < 0)[None, :, :, None, None]
    colour = layers.colour[:, chosen]
    log_weight = layers.log_weight[:, chosen].masked_fill(absent, -math.inf)
    log_transmittance = layers.log_transmittance[:, chosen].masked_fill(absent, 0.0)
    share = masked_softmax(log_weight, dim=2)
    alpha = -torch.expm1(log_transmittance.sum(dim=2))
    rgb = (share[..., None] * colour).sum(dim=2)
    return rgb * alpha[..., None] + background * (1.0 - alpha[..., None]), alpha
