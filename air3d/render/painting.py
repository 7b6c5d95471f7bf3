"""Paint objects on images one after the other, in place."""

import torch
from jaxtyping import Int
from torch import Tensor

from air3d.render.checks import check_kind, check_layers, may_look
from air3d.render.composite import choose
from air3d.render.layers import Layers, Painting


@torch.no_grad()
def paint(
    painting: Painting, layers: Layers, row: Int[Tensor, " row"], *, backend: str = "auto"
) -> None:
    """Add one object to each of some images, in place; nothing carries gradients.

    In the end an image is what :func:`~air3d.render.composite` makes of its layers, in whatever
    order they came. Only pixels that the object covers are changed: to paint a scene object by
    object takes as long as to composite it once.

    Args:
        painting: the images.
        layers: one object for each row, [row, 1, height, width].
        row: which image gets it; no image twice. Best on the CPU, where it is looked at.
        backend: as of :func:`~air3d.render.composite`.

    Raises:
        ValueError: the layers do not go with the images, ``row`` names an image that is not there
            or one twice, or no backend fits.
    """
    check_layers(layers)
    wanted = [len(row), 1, *painting.rgb.shape[1:3]]
    if list(layers.log_weight.shape) != wanted:
        raise ValueError(
            f"paint: layers.log_weight must be {wanted}, one object for each row, got "
            f"{list(layers.log_weight.shape)}"
        )
    check_kind("paint", "layers.log_weight", layers.log_weight, rgb=painting.rgb)
    every = range(len(painting.rgb))
    if may_look(row) and len(set(row.tolist()) & set(every)) != len(row):
        raise ValueError(
            f"paint: row must hold numbers from 0 to {len(painting.rgb) - 1}, none of them twice, "
            f"got {row.tolist()}"
        )
    choose(backend, layers).paint(painting, layers, row)
