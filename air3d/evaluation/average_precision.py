"""Average precision of detections: how many are right, the surest first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detection:
    """One estimate: how sure it is, and whether it is right."""

    score: float
    right: bool


def average_precision(detections: Sequence[Detection], targets: int) -> float:
    """Return the area under precision against recall, as COCO and BOP count it.

    Precision at a recall is the highest at this or a higher one; the mean is over the recalls
    0, 0.01, ..., 1. Detections of equal score keep their order.

    Args:
        detections: of one kind of object, in any order.
        targets: how many there are to be found; at least one.
    """
    surest_first = sorted(detections, key=lambda found: found.score, reverse=True)
    right = np.cumsum([found.right for found in surest_first])
    precision = right / np.arange(1, len(right) + 1)
    recall = right / targets
    at = np.linspace(0.0, 1.0, 101)
    return float(np.mean([precision[recall >= level].max(initial=0.0) for level in at]))
