"""Rotations in all three directions: by vectors, at random, and spread evenly."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

PHI = math.sqrt(2.0)
PSI = 1.533751168755204288118041
"""The positive root of x^4 = x + 4, with ``PHI`` the spirals' two ratios."""


def rotation_of(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotations about vectors' directions by their lengths (radians).

    Rodrigues' formula; gradients reach the vectors, also at zero.
    """
    x, y, z = vector.unbind(dim=-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    cross = torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
    angle = torch.linalg.vector_norm(vector, dim=-1)[..., None, None]
    sine, half = torch.sinc(angle / math.pi), torch.sinc(0.5 * angle / math.pi)
    return torch.eye(3).to(vector) + sine * cross + 0.5 * half.square() * (cross @ cross)


def angle_of(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Return by how much rotations turn (radians, 0 to pi), exact for small angles too.

    Gradients reach the rotations; they are 0 where nothing turns.
    """
    return angles_after(rotation, torch.eye(3).to(rotation)[None])[..., 0]


def angles_after(
    rotation: Float[Tensor, "*batch 3 3"], turns: Float[Tensor, "turn 3 3"]
) -> Float[Tensor, "*batch turn"]:
    """Return by how much ``rotation @ turn`` turns, for each of several turns.

    As ``angle_of``; gradients reach the rotations.
    """
    # The axis times the sine, and the cosine, of a product are linear in its first factor.
    product = torch.eye(9).to(rotation).reshape(9, 1, 3, 3) @ turns
    skew = product - product.mT
    columns = [skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]]
    columns.append(product.diagonal(dim1=-2, dim2=-1).sum(dim=-1))
    parts = rotation.flatten(-2) @ torch.stack(columns, dim=1).flatten(1)
    vector, trace = parts.unflatten(-1, (4, len(turns))).split((3, 1), dim=-2)
    return torch.atan2(torch.linalg.vector_norm(vector, dim=-2), trace[..., 0, :] - 1)


def rotation_of_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the rotations of quaternions (w, x, y, z) of any length but 0; gradients kept."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(dim=-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def random_rotations(
    shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "*batch 3 3"]:
    """Draw rotations [*shape, 3, 3] uniformly, on the CPU."""
    return rotation_of_quaternion(torch.randn(*shape, 4, generator=generator))


def spread_rotations(number: int) -> Float[Tensor, "number 3 3"]:
    """Return rotations that fill all of them evenly; the same ones every time.

    Super-Fibonacci spirals (Alexa, CVPR 2022), in double precision.
    """
    step = torch.arange(number, dtype=torch.float64) + 0.5
    share, turns = step / number, 2 * math.pi * step
    inner, outer = share.sqrt(), (1 - share).sqrt()
    first, second = turns / PHI, turns / PSI
    parts = [inner * first.sin(), inner * first.cos(), outer * second.sin(), outer * second.cos()]
    return rotation_of_quaternion(torch.stack(parts, dim=-1))
