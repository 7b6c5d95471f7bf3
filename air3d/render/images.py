"""What compositing is asked for and what it answers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Background = Float[Tensor, "3"] | Float[Tensor, "scene height width 3"]
"""One colour, or an image behind each scene (or, if there is one, behind all)."""


@dataclass(frozen=True)
class Composite:
    """Composited images.

    Attributes:
        rgb: colour over the background.
        alpha: 1 - the product of all transmittances.
        depth: mean depth of the layers (metres), weighted as their colours are, 0 where nothing
            is hit; None where the layers have none.
    """

    rgb: Float[Tensor, "batch *image height width 3"]
    alpha: Float[Tensor, "batch *image height width"]
    depth: Float[Tensor, "batch *image height width"] | None = None


def check_selection(selection: Int[Tensor, "image slot"], num_layers: int) -> None:
    """Refuse a selection of layers that are not there.

    Every backend calls this itself: it reads values, which tracing compilers must not do.

    Raises:
        ValueError: ``selection`` names a layer that is not there.
    """
    if selection.numel() and not -1 <= int(selection.min()) <= int(selection.max()) < num_layers:
        raise ValueError(
            f"composite: selection must hold numbers from -1 to {num_layers - 1} (one per "
            f"object), got {int(selection.min())} to {int(selection.max())}"
        )


def check_images(images: Tensor, name: str, layers_shape: torch.Size, scenes: tuple[int, ...]):
    """Refuse images that do not go with layers [batch, object, height, width].

    Raises:
        ValueError: the images' shape is not [one of ``scenes``, height, width, 3].
    """
    height, width = layers_shape[2:]
    if images.shape[1:] != (height, width, 3) or len(images) not in scenes:
        wanted = " or ".join(str(count) for count in dict.fromkeys(scenes))
        raise ValueError(
            f"composite: {name} must be [{wanted}, {height}, {width}, 3], as the layers are, got "
            f"{list(images.shape)}; channels come last"
        )
