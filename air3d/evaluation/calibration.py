"""Whether estimates are as sure as they are right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from air3d.estimate import SceneEstimate
from air3d.evaluation.pairs import JudgedImage, Pair, objects_of
from air3d.evaluation.summaries import share
from air3d.scene import Scenes

REGIONS = (0.5, 0.9)
"""Probabilities of the regions whose coverage is reported."""

BINS = 10
"""Of probability, for the expected calibration error."""


LEAST_VARIANCE = 1e-18
"""Square metres; what an estimate that claims no spread is held against."""


@dataclass(frozen=True)
class Coverage:
    """How often the truth lies in a region that q gives a probability.

    Attributes:
        probability: of the region under q.
        number: how many truths were looked at.
        covered: share of them that lies within; None where ``number`` is 0.
    """

    probability: float
    number: int
    covered: float | None


@dataclass(frozen=True)
class Confidence:
    """How sure choices are, and how right.

    Attributes:
        number: of choices.
        mean: probability that q gave to what was chosen; None where ``number`` is 0.
        accuracy: share of right choices.
        expected_error: expected calibration error: mean distance, over ``BINS`` bins of equal
            width, of a bin's accuracy from its mean probability, weighted by its number
            (Naeini et al., AAAI 2015).
    """

    number: int
    mean: float | None
    accuracy: float | None
    expected_error: float | None


@dataclass(frozen=True)
class Calibration:
    """Whether estimates are as sure as they are right.

    Attributes:
        count: of the most probable count of each image.
        identity: of the identities of matched objects; None in 2D.
        position: of the smallest regions of (x, y) on the plane, Gaussian with the covariances
            that estimates carry, over matched objects of the right identity; None in 2D.
    """

    count: Confidence
    identity: Confidence | None
    position: tuple[Coverage, ...] | None


def count_confidence(estimates: Sequence[SceneEstimate], counts: Sequence[int]) -> Confidence:
    """Compare the counts' probabilities with how often they are right."""
    probabilities = [estimate.count_probability[estimate.count] for estimate in estimates]
    right = [said.count == true for said, true in zip(estimates, counts, strict=True)]
    return confidence(probabilities, right)


def scene_calibration(
    estimates: Sequence[SceneEstimate], truth: Scenes, judged: Sequence[JudgedImage]
) -> Calibration:
    """Compare the certainty of 3D estimates with how right they are (see ``judge``)."""
    probabilities, right, radii = [], [], []
    for row, (estimate, image) in enumerate(zip(estimates, judged, strict=True)):
        found = objects_of(estimate)
        probabilities += [found[pair.estimated].identity_probability for pair in image.pairs]
        right += [pair.identified for pair in image.pairs]
        radii += [_radius(estimate, truth, row, pair) for pair in image.pairs if pair.identified]
    return Calibration(
        count=count_confidence(estimates, truth.count.tolist()),
        identity=confidence(probabilities, right),
        position=tuple(_coverage(probability, radii) for probability in REGIONS),
    )


def confidence(probabilities: Sequence[float], right: Sequence[bool]) -> Confidence:
    """Compare probabilities of choices with whether these were right."""
    if not right:
        return Confidence(0, None, None, None)
    p, hit = torch.tensor(probabilities).double(), torch.tensor(right).double()
    number = (p * BINS).long().clamp(0, BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, number, hit - p)
    return Confidence(
        number=len(right),
        mean=float(p.mean()),
        accuracy=float(hit.mean()),
        expected_error=float(gaps.abs().sum()) / len(right),
    )


def _radius(estimate: SceneEstimate, truth: Scenes, row: int, pair: Pair) -> float:
    """Return the distance of the true place from the estimated one in standard deviations."""
    thing = objects_of(estimate)[pair.estimated]
    off = thing.object_to_world[:2, 3].cpu() - truth.position[row, pair.true, :2].cpu()
    covariance = thing.position_covariance.cpu().double() + LEAST_VARIANCE * torch.eye(2).double()
    return float(torch.linalg.solve(covariance, off.double()).dot(off.double()).sqrt())


def _coverage(probability: float, radii: list[float]) -> Coverage:
    # A two-dimensional Gaussian lies within r standard deviations with 1 - exp(-r^2 / 2).
    reach = math.sqrt(-2 * math.log(1 - probability))
    return Coverage(probability, len(radii), share([radius <= reach for radius in radii]))
