"""What a guide has found so far, rendered, and what is left of the image beside it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render import Layers, Painting, paint
from air3d.scene import View


@dataclass(frozen=True)
class Canvas:
    """What was found in each of B images; :meth:`add` changes the painting and its counts.

    Attributes:
        images: that are looked at.
        view: from where, and under which light, the guide believes.
        painting: the objects that were found; on the CPU, as the renderer is.
        painted: how many they are [B].
    """

    images: Float[Tensor, "batch 3 height width"]
    view: View
    painting: Painting
    painted: Int[Tensor, " batch"]

    def add(self, layers: Layers, row: Int[Tensor, " row"]) -> None:
        """Paint one object more on some of the images, [row, 1, height, width]."""
        row = row.cpu()
        paint(self.painting, layers, row)
        self.painted[row] += 1

    @torch.no_grad()
    def left_over(self, row: Int[Tensor, " row"]) -> Float[Tensor, "row 3 height width"]:
        """Return what is left of some of the images beside what is painted; without gradients."""
        return less(self.images[row], self.painting.rgb[row.cpu()])

    @property
    def shown(self) -> Float[Tensor, "batch 3 height width"]:
        """The images that are painted."""
        return self.painting.rgb.movedim(-1, 1).to(self.images.device)


def less(
    images: Float[Tensor, "*#batch 3 height width"],
    painted: Float[Tensor, "*#batch height width 3"],
) -> Float[Tensor, "*batch 3 height width"]:
    """Return what is left of images beside what a renderer has painted.

    It lies in memory as the paintings do, channels last, as convolutions want it too: with mixed
    layouts the subtraction takes five times as long.
    """
    return (images.movedim(-3, -1).contiguous() - painted.to(images.device)).movedim(-1, -3)
