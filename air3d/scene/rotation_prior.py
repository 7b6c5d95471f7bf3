"""p(rotation) of objects that stand upright, and of objects that turn freely."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import random_rotations, yaw_rotation
from air3d.scene.assets import Mesh

FREE_VOLUME = 8 * math.pi**2
"""Of all rotations (rad^3), measured by the vectors of small turns."""


class RotationPrior:
    """A uniform density of rotations, and the room that objects need which turn so.

    Attributes:
        log_density: of any of these rotations; the measure is the densities' own.
    """

    log_density: float

    def sample(
        self, shape: tuple[int, ...], generator: torch.Generator
    ) -> Float[Tensor, "*shape 3 3"]:
        """Draw rotations on the CPU."""
        raise NotImplementedError

    def height(self, mesh: Mesh) -> float:
        """Return how high above the plane an object's origin is, at scale 1 (metres)."""
        raise NotImplementedError

    def reach(self, mesh: Mesh) -> float:
        """Return how far from its origin an object reaches along the plane, at most (metres)."""
        raise NotImplementedError


class UprightPrior(RotationPrior):
    """Turned about z alone, on the plane; densities are per radian."""

    log_density = -math.log(2 * math.pi)

    def sample(
        self, shape: tuple[int, ...], generator: torch.Generator
    ) -> Float[Tensor, "*shape 3 3"]:
        """Draw rotations on the CPU."""
        return yaw_rotation(2 * math.pi * torch.rand(shape, generator=generator) - math.pi)

    def height(self, mesh: Mesh) -> float:
        """Return the height at which an object's lowest point touches the plane."""
        return mesh.rest_height

    def reach(self, mesh: Mesh) -> float:
        """Return the radius of the upright cylinder that bounds an object."""
        return mesh.reach


class FreePrior(RotationPrior):
    """Turned about any axis, above the plane; densities are per rad^3 (see ``FREE_VOLUME``)."""

    log_density = -math.log(FREE_VOLUME)

    def sample(
        self, shape: tuple[int, ...], generator: torch.Generator
    ) -> Float[Tensor, "*shape 3 3"]:
        """Draw rotations on the CPU."""
        return random_rotations(shape, generator)

    def height(self, mesh: Mesh) -> float:
        """Return the height at which the ball that bounds an object touches the plane."""
        return mesh.radius

    def reach(self, mesh: Mesh) -> float:
        """Return the radius of that ball."""
        return mesh.radius
