"""In which order the guide is told the objects of a scene, and which it is to find next."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from air3d.scene import ABSENT, Scenes

PASSED_OVER = 0.1
"""Share of the objects that a lesson passes over at first."""


@dataclass(frozen=True)
class Lesson:
    """What the steps of a guide are told.

    Attributes:
        scenes: the objects in the order in which they are found; N of them.
        wanted: the object that each step is to find [B, N], a number in that order; of no meaning
            for the steps that no object is left for.
    """

    scenes: Scenes
    wanted: Int[Tensor, "batch step"]


def lesson(scenes: Scenes) -> Lesson:
    """Tell objects from near to far, but pass over some, by torch's global random state.

    Each step is to find the nearest object that is left. A guide that was told nothing but objects
    in their order would never go back to one that it has passed over, however plainly the image
    still shows it: that never happened to it. Objects that are passed over come last.
    """
    scenes = scenes.near_to_far()
    absent = scenes.identity == ABSENT
    batch, number = absent.shape
    late = torch.rand(batch, number, device=absent.device) < PASSED_OVER
    nearness = torch.arange(number, device=absent.device)
    order = (nearness + number * late + 2 * number * absent).argsort(dim=1)
    left = torch.triu(torch.ones(number, number, dtype=torch.bool, device=absent.device))
    rank = order.masked_fill(absent, number)[:, None].masked_fill(~left, number)
    return Lesson(scenes.pick(order), rank.argmin(dim=2))
