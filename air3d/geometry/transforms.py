"""Rigid transforms as 4x4 matrices that act on column vectors."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry.tensors import constant


def rigid_transform(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Put a rotation and a translation into one 4x4 matrix; gradients reach both."""
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    bottom = constant([0.0, 0.0, 0.0, 1.0], top).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def invert_rigid(a_to_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """Return ``b_to_a`` of a rigid transform (rotation and translation only)."""
    rotation = a_to_b[..., :3, :3].transpose(-1, -2)
    translation = -(rotation @ a_to_b[..., :3, 3:])[..., 0]
    return rigid_transform(rotation, translation)


def transform_points(
    a_to_b: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch point 3"]
) -> Float[Tensor, "*batch point 3"]:
    """Bring points from frame a to frame b; gradients reach both arguments."""
    return points @ a_to_b[..., :3, :3].transpose(-1, -2) + a_to_b[..., None, :3, 3]


def yaw_rotation(yaw: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotation about +z by ``yaw`` radians, from x towards y."""
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    rows = [
        torch.stack([cos, -sin, zero], dim=-1),
        torch.stack([sin, cos, zero], dim=-1),
        torch.stack([zero, zero, one], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def look_at(
    eye: Float[Tensor, "*batch 3"], target: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Return ``world_to_camera`` of a camera at ``eye`` that looks at ``target``.

    The world's +z points up in the image. Gradients reach both arguments; looking straight
    up or down leaves the roll undefined and raises ``ValueError``.
    """
    forward = target - eye
    up = torch.zeros_like(forward)
    up[..., 2] = 1.0
    right = torch.linalg.cross(forward, up)
    if bool((right.norm(dim=-1) <= 1e-6 * forward.norm(dim=-1)).any()):
        raise ValueError(
            "look_at: target must not lie straight above or below eye (nor at it): "
            "the camera's roll is undefined; move eye sideways a little"
        )
    forward = forward / forward.norm(dim=-1, keepdim=True)
    right = right / right.norm(dim=-1, keepdim=True)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=-2)
    return rigid_transform(rotation, -(rotation @ eye[..., None])[..., 0])
