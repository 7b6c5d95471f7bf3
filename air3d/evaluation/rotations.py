"""How far two rotations differ, up to what an object's symmetry hides."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def rotation_error(
    estimated: Float[Tensor, "3 3"],
    true: Float[Tensor, "3 3"],
    yaw_symmetry: int | Literal["continuous"],
) -> float:
    """Return the least angle (radians, 0 to pi) between a rotation and a symmetric twin of another.

    The twins of a k-fold symmetric object are the true rotation after any of k turns about the
    object's own z axis, those of a solid of revolution after any turn: there only a tilt is an
    error. Between upright objects the error is that of their yaws, 0 to pi / k.
    """
    turn = true.double().T @ estimated.double()
    yaw = math.atan2(float(turn[1, 0] - turn[0, 1]), float(turn[0, 0] + turn[1, 1]))
    # Of all turns about z this one comes nearest, and of a few the one that is nearest to it.
    hidden = yaw
    if yaw_symmetry != "continuous":
        step = 2 * math.pi / yaw_symmetry
        hidden = step * round(yaw / step)
    return angle_of(turn @ _turn(-hidden))


def angle_of(rotation: Float[Tensor, "3 3"]) -> float:
    """Return by how much a rotation turns (radians, 0 to pi), exact for small angles too."""
    skew = rotation - rotation.T
    sine = torch.stack([skew[2, 1], skew[0, 2], skew[1, 0]]).norm() / 2
    return math.atan2(float(sine), float(rotation.trace() - 1) / 2)


def _turn(yaw: float) -> Float[Tensor, "3 3"]:
    cos, sin = math.cos(yaw), math.sin(yaw)
    rows = [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=torch.float64)
