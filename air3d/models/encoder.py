"""Convolutional encoders: image or glimpse -> feature vector, and a map of where things are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

MAP_SIDE = 16
"""Longest side of the map that an image encoder hands out."""


@dataclass(frozen=True)
class Encoded:
    """An image as networks see it.

    Attributes:
        features: of the whole image [B, F].
        map: of each place in it [B, C, h, w]; None where nobody looks at places (2D).
    """

    features: Float[Tensor, "batch feature"]
    map: Float[Tensor, "batch channel height width"] | None = None


def conv_encoder(
    in_channels: int, image_size: tuple[int, int], channels: tuple[int, ...], features: int
) -> nn.Sequential:
    """Halve the image once per entry of ``channels``, then map it to ``features`` numbers.

    Takes [B, C, H, W] and gives [B, features].
    """
    layers: list[nn.Module] = []
    height, width = image_size
    for out_channels in channels:
        layers += [nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.ReLU()]
        in_channels = out_channels
        height, width = (height + 1) // 2, (width + 1) // 2
    layers += [nn.Flatten(), nn.Linear(in_channels * height * width, features), nn.ReLU()]
    return nn.Sequential(*layers)


class FlatEncoder(nn.Sequential):
    """A :func:`conv_encoder` that hands out no map; arguments as there."""

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        channels: tuple[int, ...],
        features: int,
    ):
        super().__init__(*conv_encoder(in_channels, image_size, channels, features))

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Encoded:
        """Encode images."""
        return Encoded(super().forward(images))


class MapEncoder(nn.Module):
    """Halve the image until its map has at most ``MAP_SIDE`` places along a side, then go on.

    The map's places see their surroundings through one more convolution.

    Args:
        in_channels: of the images.
        image_size: (height, width).
        channels: one halving each; the map is taken after the first that is small enough.
        features: numbers that stand for the whole image.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        channels: tuple[int, ...],
        features: int,
    ):
        super().__init__()
        height, width = image_size
        fine: list[nn.Module] = []
        used = 0
        while max(height, width) > MAP_SIDE and used < len(channels):
            fine += [nn.Conv2d(in_channels, channels[used], 3, stride=2, padding=1), nn.ReLU()]
            in_channels, used = channels[used], used + 1
            height, width = (height + 1) // 2, (width + 1) // 2
        fine += [nn.Conv2d(in_channels, in_channels, 3, padding=1), nn.ReLU()]
        self.fine = nn.Sequential(*fine)
        self.coarse = conv_encoder(in_channels, (height, width), channels[used:], features)
        self.map_channels = in_channels
        self.map_size = (height, width)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Encoded:
        """Encode images."""
        places: Tensor = self.fine(images)
        return Encoded(self.coarse(places), places)


def cell_centres(height: int, width: int) -> Float[Tensor, "cell 2"]:
    """Return (x, y) of the middles of a map's places, row by row; -1 and 1 are its edges."""
    y = (2 * torch.arange(height) + 1) / height - 1
    x = (2 * torch.arange(width) + 1) / width - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)
