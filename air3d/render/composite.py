"""Merge layers into images: exact, order-independent, for any number of subsets at once."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render import reference_composite
from air3d.render.layers import Layers


@dataclass(frozen=True)
class Composite:
    """Composited images.

    Attributes:
        rgb: colour over the background.
        alpha: 1 - the product of all transmittances.
    """

    rgb: Float[Tensor, "batch image height width 3"]
    alpha: Float[Tensor, "batch image height width"]


def prefix_selection(num_objects: int) -> Int[Tensor, "image object"]:
    """Return the selection of all prefixes: row n (of N + 1) holds layers 0..n-1, then -1."""
    layer = torch.arange(num_objects)
    count = torch.arange(num_objects + 1)[:, None]
    return torch.where(layer < count, layer, -1)


def composite(
    layers: Layers, selection: Int[Tensor, "image layer"], background: Float[Tensor, "3"]
) -> Composite:
    """Merge layers ``selection[p]`` (-1: none) of every scene into image p of that scene.

    Colours are weighted by exp(log_weight), transmittances multiply, and the image is
    rgb * alpha + background * (1 - alpha), which carries the silhouette's gradient where
    PyTorch3D's softmax blending carries almost none. Merging layers gives what rasterising all
    of their faces together gives. Gradients reach all of ``layers`` and ``background``.

    Raises:
        ValueError: ``selection`` names a layer that is not there.
    """
    num_objects = layers.colour.shape[1]
    if selection.numel() and not -1 <= int(selection.min()) <= int(selection.max()) < num_objects:
        raise ValueError(
            f"composite: selection must hold numbers from -1 to {num_objects - 1} (one per "
            f"object), got {int(selection.min())} to {int(selection.max())}"
        )
    background = background.to(layers.colour)
    if layers.colour.device.type != "cpu":
        return Composite(*reference_composite.composite(layers, selection, background))
    from air3d.render import cpu  # loads Numba, so only when it is used

    return Composite(*cpu.composite(layers, selection, background))
