"""Errors and yes-or-no answers, summed up."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

BAD_ANGLE = 10.0
"""Degrees beyond which a rotation counts as wrong."""


@dataclass(frozen=True)
class Errors:
    """A summary of errors.

    Attributes:
        number: how many there are.
        median, mean: None where ``number`` is 0.
    """

    number: int
    median: float | None
    mean: float | None


@dataclass(frozen=True)
class AngleErrors(Errors):
    """Errors of rotations, degrees.

    Attributes:
        share_bad: share that exceeds ``BAD_ANGLE``; None where there are none.
    """

    share_bad: float | None


def summarise(errors: Sequence[float]) -> Errors:
    """Return the number of errors, their median and their mean."""
    if not errors:
        return Errors(0, None, None)
    return Errors(len(errors), statistics.median(errors), statistics.fmean(errors))


def summarise_angles(degrees: Sequence[float]) -> AngleErrors:
    """Return the same of angles, with the share of those that are wrong."""
    summary = summarise(degrees)
    bad = share([value > BAD_ANGLE for value in degrees])
    return AngleErrors(summary.number, summary.median, summary.mean, bad)


def share(flags: Sequence[bool]) -> float | None:
    """Return the share that is true; None of nothing."""
    return sum(flags) / len(flags) if flags else None


def check_one_for_each(estimates: int, images: int) -> None:
    """Check that there is one estimate for each image, and an image at all.

    Raises:
        ValueError: there is not.
    """
    if images == 0:
        raise ValueError("the data set has no image to evaluate; give one that has")
    if estimates != images:
        raise ValueError(f"{estimates} estimates for {images} images; give one for each image")
