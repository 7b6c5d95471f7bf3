"""A uniform density on a box whose walls are soft."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.scene.spec import Range

WALL = 0.02


@dataclass(frozen=True)
class SoftBox:
    """Uniform between ``low`` and ``high`` [D]; outside, density falls as a normal.

    The normal's standard deviation is ``WALL``, in the coordinates' own units. A posterior with
    unbounded support would have no finite ELBO before walls that are hard. The walls are not
    counted in the normalisation.
    """

    low: Float[Tensor, " axis"]
    high: Float[Tensor, " axis"]

    @classmethod
    def of(cls, ranges: Sequence[Range]) -> "SoftBox":
        """Return the box of several ranges, one per axis."""
        sides = torch.tensor([[side.low, side.high] for side in ranges]).reshape(-1, 2)
        return cls(sides[:, 0], sides[:, 1])

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape"]:
        """Draw points [*shape, D] within the box, on the CPU."""
        unit = torch.rand(*shape, len(self.low), generator=generator)
        return self.low + (self.high - self.low) * unit

    def log_prob(self, point: Float[Tensor, "*batch axis"]) -> Float[Tensor, "*batch"]:
        """Return the log-density of points; gradients reach them."""
        low, high = self.low.to(point), self.high.to(point)
        outside = (point - point.clamp(low, high)) / WALL
        return -(high - low).log().sum() - 0.5 * outside.square().sum(dim=-1)
