"""Glimpses of a scene: read out of a window and encoded."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from air3d.models.attention import Windows, read_glimpse
from air3d.models.encoder import conv_encoder, raise_contrast
from air3d.scene import SceneSpec


@dataclass(frozen=True)
class GlimpseSize:
    """How finely a glimpse is read, and how it is looked at.

    Attributes:
        side: pixels.
        channels: of its encoder, one halving each.
    """

    side: int
    channels: tuple[int, ...]


class GlimpseEncoder(nn.Module):
    """Turn what a window of a scene's image shows into numbers.

    Args:
        spec: the scene file, for its background.
        size: of the glimpse.
        features: numbers that stand for a glimpse.
    """

    def __init__(self, spec: SceneSpec, size: GlimpseSize, features: int):
        super().__init__()
        self.side = size.side
        sides = size.side, size.side
        self.layers = conv_encoder(spec.num_channels, sides, size.channels, features)
        raise_contrast(self.layers, spec.background)

    def forward(
        self, images: Float[Tensor, "batch channel height width"], windows: Windows
    ) -> Float[Tensor, "batch feature"]:
        """Read and encode one glimpse of each image."""
        return self.layers(read_glimpse(images, windows, self.side))
