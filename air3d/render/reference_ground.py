"""The ground's pixels in plain torch: float32 or float64, any device. The twin of the fast path."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.render.ground_view import TINY, GroundView
from air3d.render.instances import exact_centres
from air3d.render.layers import Layers, blur_radius
from air3d.scene.spec import RenderSpec

MIN_DESCENT = 2.0**-10
"""Rays that descend less per metre of depth, near the horizon, count as descending by this.

So all depths are finite, as in :func:`air3d.geometry.unproject_to_plane`.
"""
FAR_INSIDE = 4.0
"""Signed distances (NDC, where the short image side is 2) end here; nothing is soft any more."""
SHARPEST = 2.0**-13
"""A checkerboard's edges are at least this soft, in squares."""


def trace_ground(view: GroundView, softness: RenderSpec) -> Layers:
    """Return the plane as a layer, [batch, height, width]; gradients reach the view."""
    grid = _pixel_grid(view)
    descent, x, y = (view.coordinates @ grid).unbind(dim=1)
    inverse = 1.0 / descent.clamp(min=MIN_DESCENT)
    depth = view.drop[:, None] * inverse
    signed = (view.edges @ grid).amin(dim=1).clamp(max=FAR_INSIDE)
    hit = signed > -math.sqrt(blur_radius(softness.sigma))
    signed = torch.where(hit, signed, 0.0)
    covered = signed * signed.abs() / softness.sigma
    z_inv = (softness.far - depth) / (softness.far - softness.near)
    log_weight = torch.nn.functional.logsigmoid(covered) + z_inv / softness.gamma
    colour = _colour(view, x * inverse, y * inverse, inverse)
    maps = {
        "colour": torch.where(hit[..., None], colour, 0.0),
        "log_weight": torch.where(hit, log_weight, -math.inf),
        "log_transmittance": torch.where(hit, torch.nn.functional.logsigmoid(-covered), 0.0),
        "depth": torch.where(hit, depth, 0.0),
    }
    return Layers(**{name: part.unflatten(1, view.image_size) for name, part in maps.items()})


def _pixel_grid(view: GroundView) -> Float[Tensor, "3 pixel"]:
    """Return 1 and the NDC of every pixel centre."""
    height, width = view.image_size
    left, up = exact_centres(view.image_size, view.drop)
    left, up = left.expand(height, width), up[:, None].expand(height, width)
    return torch.stack([torch.ones_like(left), left, up]).flatten(1)


def _colour(
    view: GroundView, x: Tensor, y: Tensor, inverse: Tensor
) -> Float[Tensor, "batch pixel 3"]:
    """Return the lit colour of the plane at (x, y), for rays that descend by 1 / ``inverse``."""
    facing = _facing(view, x, y)
    pattern = torch.zeros_like(facing)
    if view.squares > 0.0:
        scale = inverse * (view.pixel * view.squares)
        pattern = _stripes(view, 1, x, scale) * _stripes(view, 2, y, scale)
    terms = [torch.ones_like(facing), facing, pattern, pattern * facing]
    return torch.stack(terms, dim=2) @ view.shades


def _facing(view: GroundView, x: Tensor, y: Tensor) -> Float[Tensor, "batch pixel"]:
    """Return the cosine between the plane's normal and the direction to the lamp, at least 0."""
    lamp_x, lamp_y, lamp_z, weight = view.lamp[..., None].unbind(dim=1)
    dx, dy = lamp_x - weight * x, lamp_y - weight * y
    distance = (dx.square() + dy.square() + lamp_z.square() + TINY).sqrt()
    return lamp_z.clamp(min=0.0) / distance


def _stripes(view: GroundView, axis: int, place: Tensor, scale: Tensor) -> Tensor:
    """Average stripes of 1 and -1 along an axis over each pixel's footprint.

    Its extent is that of the footprint's bounding rectangle on the plane, by the quotient rule.
    """
    slopes, descents = view.coordinates[:, axis, 1:, None], view.coordinates[:, 0, 1:, None]
    steps = slopes - descents * place[:, None]
    width = (steps.abs().sum(dim=1) * scale).clamp(min=SHARPEST)
    after, before = place * view.squares + 0.5 * width, place * view.squares - 0.5 * width
    return (_triangle(after) - _triangle(before)) / width


def _triangle(place: Tensor) -> Tensor:
    """Return the distance to the nearest even number: the integral of stripes of width 1."""
    return (place - 2.0 * (0.5 * place).round()).abs()
