"""How good estimates are: figures in 3D and 2D."""

from air3d.evaluation.judge import Evaluation, evaluate
from air3d.evaluation.matching import Match, match_objects, yaw_error
from air3d.evaluation.metrics import (
    CountMetrics,
    SceneMetrics,
    count_metrics,
    scene_metrics,
    to_json,
)
from air3d.evaluation.test_sets import TestSet, load_test_set

__all__ = [
    "CountMetrics",
    "Evaluation",
    "Match",
    "SceneMetrics",
    "TestSet",
    "count_metrics",
    "evaluate",
    "load_test_set",
    "match_objects",
    "scene_metrics",
    "to_json",
    "yaw_error",
]
