"""How often the number of objects is right."""

from collections.abc import Sequence
from dataclasses import dataclass

from air3d.evaluation.summaries import check_one_for_each


@dataclass(frozen=True)
class CountMetrics:
    """How well objects are counted.

    Attributes:
        images: how many were judged.
        accuracy: share of images whose count is right.
        per_count: the same among images of n objects, n = 0, 1, ...; None where there are none.
        confusion: ``confusion[n][m]`` images have n objects and were said to have m.
    """

    images: int
    accuracy: float
    per_count: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def headline(self) -> dict[str, float]:
        """The figures to watch while training."""
        return {"count_accuracy": self.accuracy}


def count_metrics(estimated: Sequence[int], true: Sequence[int]) -> CountMetrics:
    """Compare counts image by image.

    Raises:
        ValueError: no image, or not one estimate for each.
    """
    check_one_for_each(len(estimated), len(true))
    size = max(*estimated, *true) + 1
    confusion = [[0] * size for _ in range(size)]
    for said, is_true in zip(estimated, true, strict=True):
        confusion[is_true][said] += 1
    per_count = tuple(row[n] / sum(row) if sum(row) else None for n, row in enumerate(confusion))
    right = sum(row[n] for n, row in enumerate(confusion))
    return CountMetrics(len(true), right / len(true), per_count, tuple(map(tuple, confusion)))
