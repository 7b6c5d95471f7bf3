"""Directions by two angles: of a lamp, and of a camera on its orbit."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry.transforms import invert_rigid, look_at


def direction_of(
    azimuth: Float[Tensor, "*batch"], elevation: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3"]:
    """Return unit vectors; azimuth runs about z from x towards y, elevation from the horizon.

    Radians; gradients reach both.
    """
    across = elevation.cos()
    return torch.stack([across * azimuth.cos(), across * azimuth.sin(), elevation.sin()], dim=-1)


def angles_of(
    direction: Float[Tensor, "*batch 3"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Return azimuth and elevation (radians) of vectors of any length; gradients reach them."""
    x, y, z = direction.unbind(dim=-1)
    return torch.atan2(y, x), torch.atan2(z, torch.hypot(x, y))


def orbit(
    azimuth: Float[Tensor, " batch"],
    elevation: Float[Tensor, " batch"],
    distance: Float[Tensor, " batch"],
    target: Float[Tensor, "3"],
) -> Float[Tensor, "batch 4 4"]:
    """Return ``world_to_camera`` of cameras that look at ``target`` from a direction and distance.

    Gradients reach all arguments.
    """
    eye = target + distance[:, None] * direction_of(azimuth, elevation)
    return look_at(eye, target.expand_as(eye))


def from_target(
    world_to_camera: Float[Tensor, "batch 4 4"], target: Float[Tensor, "3"]
) -> Float[Tensor, "batch 3"]:
    """Return the eyes' places relative to ``target`` (metres); gradients reach both."""
    return invert_rigid(world_to_camera)[:, :3, 3] - target
