"""From images to scene estimates: one pass of the guide, then a search through the renderer."""

from air3d.inference.effort import ONE_PASS, Effort
from air3d.inference.inferring import infer
from air3d.inference.watching import Stage, Watch, unwatched

__all__ = ["ONE_PASS", "Effort", "Stage", "Watch", "infer", "unwatched"]
