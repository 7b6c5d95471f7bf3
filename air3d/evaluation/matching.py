"""Which estimated object stands for which true one, and how far their turns differ."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor


@dataclass(frozen=True)
class Match:
    """One pair: object ``estimated`` of the estimate stands for object ``true`` of the truth."""

    estimated: int
    true: int


def match_objects(
    estimated: Float[Tensor, "estimated 3"], true: Float[Tensor, "true 3"]
) -> tuple[Match, ...]:
    """Pair positions (metres) one to one so that the sum of their distances is least.

    Every object of the shorter list is paired, however far away: an estimate that lies
    elsewhere shows as an error of position, one too many as surplus, one too few as missed.
    """
    rows, columns = linear_sum_assignment(torch.cdist(estimated, true).numpy())
    return tuple(Match(int(row), int(column)) for row, column in zip(rows, columns, strict=True))


def yaw_error(
    estimated: Float[Tensor, "4 4"],
    true: Float[Tensor, "4 4"],
    yaw_symmetry: int | Literal["continuous"],
) -> float:
    """Return the angle (radians, 0 to pi / k) between two poses' yaws, up to a k-fold symmetry.

    The yaw between poses that differ by more than a turn about the object's z axis is that of
    the nearest such turn. Without meaning for a solid of revolution: 0 there.
    """
    if yaw_symmetry == "continuous":
        return 0.0
    turn = true[:3, :3].T @ estimated[:3, :3]
    yaw = math.atan2(float(turn[1, 0] - turn[0, 1]), float(turn[0, 0] + turn[1, 1]))
    return abs(math.remainder(yaw, 2 * math.pi / yaw_symmetry))
