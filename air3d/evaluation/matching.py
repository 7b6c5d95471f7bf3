"""Which estimated position stands for which true one."""

from dataclasses import dataclass

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
