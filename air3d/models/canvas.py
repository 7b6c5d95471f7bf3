"""What a guide has found so far, rendered, and what is left of the image beside it."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render import Layers
from air3d.render.composite import composite
from air3d.render.images import Background
from air3d.scene import View


@dataclass(frozen=True)
class Canvas:
    """Layers of the objects that were found in each of B images.

    Attributes:
        images: that are looked at.
        view: from where, and under which light, the guide believes.
        background: behind all objects.
        layers: room for N objects of each image, filled from the first on.
        painted: how many slots are filled.
        left_over: the images less what is painted; without gradients.
    """

    images: Float[Tensor, "batch 3 height width"]
    view: View
    background: Background
    layers: Layers
    painted: int
    left_over: Float[Tensor, "batch 3 height width"]

    @torch.no_grad()
    def painted_on(self, layer: Layers) -> "Canvas":
        """Return the canvas with one layer more; it takes the memory of this one's layers."""
        for name in ("colour", "log_weight", "log_transmittance"):
            getattr(self.layers, name)[:, self.painted] = getattr(layer, name)[:, 0]
        painted = self.painted + 1
        rgb = composite(self.layers, torch.arange(painted)[None], self.background).rgb[:, 0]
        return dataclasses.replace(self, painted=painted, left_over=less(self.images, rgb))

    @torch.no_grad()
    def first(self, count: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """Return the images of the first ``count`` objects of each."""
        slot = torch.arange(self.layers.log_weight.shape[1])
        beyond = (slot >= count[:, None].cpu())[..., None, None]
        layers = dataclasses.replace(
            self.layers,
            log_weight=self.layers.log_weight.masked_fill(beyond, -math.inf),
            log_transmittance=self.layers.log_transmittance.masked_fill(beyond, 0.0),
        )
        rgb = composite(layers, slot[None, : self.painted], self.background).rgb[:, 0]
        return rgb.movedim(-1, 1).to(self.images.device)


def less(
    images: Float[Tensor, "*#batch 3 height width"],
    painted: Float[Tensor, "*#batch height width 3"],
) -> Float[Tensor, "*batch 3 height width"]:
    """Return what is left of images beside what a renderer has painted.

    It lies in memory as the paintings do, channels last, as convolutions want it too: with mixed
    layouts the subtraction takes five times as long.
    """
    return (images.movedim(-3, -1).contiguous() - painted.to(images.device)).movedim(-1, -3)


def room_for_layers(batch: int, number: int, image_size: tuple[int, int]) -> Layers:
    """Return layers of which nothing is known yet."""
    shape = (batch, number, *image_size)
    return Layers(torch.empty(*shape, 3), torch.empty(shape), torch.empty(shape))
