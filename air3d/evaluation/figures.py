"""Every further figure of an evaluation: what takes too long to watch while training."""

from collections.abc import Sequence
from dataclasses import dataclass

from air3d.evaluation.average_distance import AverageDistances, average_distances
from air3d.evaluation.calibration import Calibration, count_confidence, scene_calibration
from air3d.evaluation.detection import DetectionMetrics, detection_metrics
from air3d.evaluation.fit import Fit, fit
from air3d.evaluation.judge import Scored
from air3d.evaluation.pairs import judge
from air3d.evaluation.splits import Splits, split
from air3d.evaluation.summaries import Errors
from air3d.evaluation.test_sets import TestSet
from air3d.scene import Mesh


@dataclass(frozen=True)
class Figures:
    """What an evaluation says beside its metrics.

    Attributes:
        fit: to the pixels.
        calibration: of the probabilities.
        detection: BOP's average precision; None in 2D, as what follows.
        average_distances: ADD and ADD-S.
        splits: by count, by repeats, by occlusion.
    """

    fit: Fit
    calibration: Calibration
    detection: DetectionMetrics | None = None
    average_distances: AverageDistances | None = None
    splits: Splits | None = None


def examine(
    test_set: TestSet, evaluation: Scored, meshes: Sequence[Mesh], elbo: Errors | None
) -> Figures:
    """Look at the estimates of a test set (see ``evaluate``) in every other way.

    Args:
        test_set: what was inferred.
        evaluation: of it.
        meshes: of the scene file; none in 2D.
        elbo: of the model that inferred (see ``elbo_of``); None for a method that has none.
    """
    estimates, truth = evaluation.estimates, test_set.scenes
    fitted = fit(test_set.images, estimates, elbo)
    if truth is None:
        count = count_confidence(estimates, test_set.counts.tolist())
        return Figures(fitted, Calibration(count, None, None))
    judged = judge(estimates, truth, meshes)
    return Figures(
        fitted,
        scene_calibration(estimates, truth, judged),
        detection_metrics(estimates, truth, meshes, test_set.visible),
        average_distances(estimates, truth, meshes, judged),
        split(judged, test_set.visible),
    )
