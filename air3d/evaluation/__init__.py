"""How good estimates are: figures in 3D and 2D, and where each figure comes from."""

from air3d.evaluation.matching import Match, match_objects, yaw_error
from air3d.evaluation.metrics import (
    CountMetrics,
    SceneMetrics,
    count_metrics,
    scene_metrics,
    to_json,
)
from air3d.evaluation.provenance import Provenance, check_writable, provenance, write_json

__all__ = [
    "CountMetrics",
    "Match",
    "Provenance",
    "SceneMetrics",
    "check_writable",
    "count_metrics",
    "match_objects",
    "provenance",
    "scene_metrics",
    "to_json",
    "write_json",
    "yaw_error",
]
