"""All that the guide says of a batch of images."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from jaxtyping import Float
from torch import Tensor

from air3d.models.canvas import Canvas
from air3d.models.latents import Remembered
from air3d.models.views import SeenView

Draw = TypeVar("Draw", bound=Remembered)


@dataclass(frozen=True)
class Unrolled(Generic[Draw]):
    """What the guide says of a batch of images.

    Attributes:
        presence_logits: of q(z_pres_i = 1 | x, z_<i) [B, N].
        latents: the steps' latents, stacked along axis 1.
        seen: the view that it went by; None in 2D.
        canvas: the objects of the steps that were taken, each painted as what it most probably is;
            None in 2D.
    """

    presence_logits: Float[Tensor, "batch step"]
    latents: Draw
    seen: SeenView | None
    canvas: Canvas | None
