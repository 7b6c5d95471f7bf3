"""Let others see how a search goes on."""

from collections.abc import Callable
from dataclasses import dataclass

from air3d.scene import Scenes


@dataclass(frozen=True)
class Stage:
    """What a search of several images has come to.

    Attributes:
        name: what was done last, in words: "one pass", "best of 5 draws", "light turned", "objects
            turned", "pulled in" (after every step), "settled", "round 1: other objects tried".
        scenes: one for each image, without gradients.
    """

    name: str
    scenes: Scenes

    def of(self, row: int) -> "Stage":
        """Return the same of one image."""
        return Stage(self.name, self.scenes[row : row + 1])


Watch = Callable[[Stage], None]
"""Is told each stage when it is reached: a list's ``append`` keeps them all."""


def unwatched(stage: Stage) -> None:
    """Let a stage pass."""
