"""How good estimates are: figures in 3D and 2D."""

from air3d.evaluation.average_distance import AverageDistances, average_distances
from air3d.evaluation.bop_results import write_bop_results
from air3d.evaluation.counts import CountMetrics, count_metrics
from air3d.evaluation.detection import DetectionMetrics, detection_metrics
from air3d.evaluation.figures import Figures, examine
from air3d.evaluation.fit import elbo_of
from air3d.evaluation.judge import (
    Evaluation,
    Method,
    Scored,
    evaluate,
    evaluate_in_turn,
    evaluate_together,
    score,
)
from air3d.evaluation.matching import Match, match_objects
from air3d.evaluation.metrics import SceneMetrics, scene_metrics, to_json
from air3d.evaluation.pairs import JudgedImage, Pair, judge
from air3d.evaluation.records import result_record
from air3d.evaluation.rotations import rotation_error
from air3d.evaluation.splits import Splits, split
from air3d.evaluation.test_sets import TestSet, load_test_set
from air3d.evaluation.views import open_numbers

__all__ = [
    "AverageDistances",
    "CountMetrics",
    "DetectionMetrics",
    "Evaluation",
    "Figures",
    "JudgedImage",
    "Match",
    "Method",
    "Pair",
    "SceneMetrics",
    "Scored",
    "Splits",
    "TestSet",
    "average_distances",
    "count_metrics",
    "detection_metrics",
    "elbo_of",
    "evaluate",
    "evaluate_in_turn",
    "evaluate_together",
    "examine",
    "judge",
    "load_test_set",
    "match_objects",
    "open_numbers",
    "result_record",
    "rotation_error",
    "scene_metrics",
    "score",
    "split",
    "to_json",
    "write_bop_results",
]
