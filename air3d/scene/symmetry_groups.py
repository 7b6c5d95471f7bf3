"""Groups of rotations that leave an object as it is, and how far apart they leave two rotations."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from air3d.geometry import angles_after, yaw_rotation

EYE = torch.eye(3, dtype=torch.float64)


@dataclass(frozen=True)
class SymmetryGroup:
    """All rotations about an object's origin that leave it as it is.

    They are the products of a rotation about one of the axes and a turn, as BOP's models have
    continuous and discrete symmetries. A rotation R and its twins R g look the same.

    Attributes:
        turns: the discrete part, the identity first, in the object's frame, float64 [T, 3, 3].
        axes: about which any angle leaves it as it is, unit vectors in the object's frame,
            float64 [A, 3]: none, one of a solid of revolution, three
            of a ball, all of whose rotations look alike.
    """

    turns: Float64[Tensor, "turn 3 3"]
    axes: Float64[Tensor, "axis 3"]

    @classmethod
    def about_z(cls, fold: int | Literal["continuous"]) -> "SymmetryGroup":
        """Return the turns about z of a k-fold symmetry, or those of a solid of revolution."""
        if fold == "continuous":
            return cls(EYE[None], EYE[2:])
        return cls(yaw_rotation(2 * math.pi * torch.arange(fold).double() / fold), EYE[:0])

    @property
    def freedom(self) -> int:
        """In how many directions a rotation can be told from its neighbours: 3, 2 or 0."""
        return (3, 2)[len(self.axes)] if len(self.axes) < 2 else 0

    @property
    def trivial(self) -> bool:
        """Whether no rotation leaves the object as it is."""
        return len(self.turns) == 1 and len(self.axes) == 0

    def angles(self, relative: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch turn"]:
        """Return how far (radians, 0 to pi) rotations are from others, up to each of the turns.

        Angles about an axis do not count: what is left is the angle between the axes. Gradients
        reach the rotations.

        Args:
            relative: ``other.mT @ one``.
        """
        if self.freedom == 0:
            return relative[..., :1, 0] * 0.0
        if self.freedom == 3:
            return angles_after(relative, self.turns.to(relative))
        axis = self.axes[0].to(relative)
        turned = relative[..., None, :, :] @ (self.turns.to(relative) @ axis)[..., None]
        across = torch.linalg.cross(axis.expand_as(turned[..., 0]), turned[..., 0])
        return torch.atan2(torch.linalg.vector_norm(across, dim=-1), turned[..., 0] @ axis)

    def angle(
        self, one: Float[Tensor, "*batch 3 3"], other: Float[Tensor, "*#batch 3 3"]
    ) -> Float[Tensor, "*batch"]:
        """Return the least angle (radians) between a rotation and a twin of another."""
        return self.angles(other.mT @ one).amin(dim=-1)
