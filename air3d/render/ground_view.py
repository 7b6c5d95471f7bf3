"""A horizontal plane before its camera and under its light: all that tracing its pixels needs."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

TINY = 1e-12
"""Keeps the gradients of square roots finite at 0."""


@dataclass(frozen=True)
class GroundView:
    """The plane in every image, mostly as affine functions of the place there.

    The three factors of such a function are of 1 and of the pixel centre's NDC (x left, y up).

    Attributes:
        coordinates: how far a ray descends towards the plane per metre of depth, and x and y
            (world) of where it meets the plane, times that.
        edges: signed distances (NDC) to the lines where the plane ends, positive inside: the
            horizon, and the sides of a rectangle.
        drop: how far the plane is below the camera, or above it (metres).
        lamp: the lamp, homogeneous, in a frame whose origin lies in the plane, below the world's.
        shades: colours that sum to the plane's, times 1, the cosine to the lamp, and both times
            the pattern: 1 or -1 on the squares of a checkerboard.
        squares: how many of a checkerboard's are in a metre; 0 for a plane of one colour.
        image_size: (height, width).
    """

    coordinates: Float[Tensor, "batch 3 3"]
    edges: Float[Tensor, "batch edge 3"]
    drop: Float[Tensor, " batch"]
    lamp: Float[Tensor, "batch 4"]
    shades: Float[Tensor, "batch 4 3"]
    squares: float
    image_size: tuple[int, int]

    @property
    def pixel(self) -> float:
        """A pixel's side (NDC)."""
        return 2.0 / min(self.image_size)
