"""Convolutional encoders: image or glimpse -> feature vector, and a map of where things are."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from air3d.models.rows import rows_of

CONTRAST = 8.0
"""By how much the first layer of a network that looks at scenes multiplies contrasts at first."""

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

    def __getitem__(self, rows: Shaped[Tensor, " row"]) -> "Encoded":
        """Return some of the images."""
        return Encoded(self.features[rows], None if self.map is None else rows_of(self.map, rows))


class Convolutions(nn.Sequential):
    """Layers with the channels last in memory, a third faster on a CPU than channels first.

    Attributes:
        dtype: in which they compute; weights, inputs and outputs are float32.
    """

    dtype: torch.dtype = torch.float32

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Tensor:
        """Apply the layers."""
        images = images.contiguous(memory_format=torch.channels_last)
        if self.dtype == torch.float32:
            return super().forward(images)
        with torch.autocast(images.device.type, self.dtype):
            return super().forward(images).float()


def compute_convolutions_in(dtype: torch.dtype, model: nn.Module) -> None:
    """Choose the numbers that all of a model's convolutions compute with, forward and backward.

    bfloat16 is twice as fast on processors that have it (AVX-512 BF16, AMX) and slower on others.
    What stands at the borders, losses, poses and renders among it, stays float32.
    """
    for layers in model.modules():
        if isinstance(layers, Convolutions):
            layers.dtype = dtype


def conv_encoder(
    in_channels: int, image_size: tuple[int, int], channels: tuple[int, ...], features: int
) -> Convolutions:
    """Halve the image once per entry of ``channels``, then map it to ``features`` numbers.

    Takes [B, C, H, W] and gives [B, features].
    """
    height, width = halved(image_size, len(channels))
    last = channels[-1] if channels else in_channels
    layers = halvings(in_channels, channels)
    return Convolutions(
        *layers, nn.Flatten(), nn.Linear(last * height * width, features), rectifier()
    )


def halvings(in_channels: int, channels: tuple[int, ...]) -> list[nn.Module]:
    """Return layers that halve the image once per entry of ``channels``."""
    layers: list[nn.Module] = []
    for before, after in zip((in_channels, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), rectifier()]
    return layers


def rectifier() -> nn.ReLU:
    """Return a ReLU that works in place, after layers that do not need their output any more.

    Maps are large: fresh memory for each would cost more time than to rectify it.
    """
    return nn.ReLU(inplace=True)


def halved(image_size: tuple[int, int], times: int) -> tuple[int, int]:
    """Return the size of an image after some of such layers."""
    height, width = (-(-side // 2**times) for side in image_size)
    return height, width


def halvings_to_map(image_size: tuple[int, int], channels: tuple[int, ...]) -> int:
    """Return how many of ``channels`` it takes to come down to ``MAP_SIDE`` places a side."""
    enough = (n for n in range(len(channels)) if max(halved(image_size, n)) <= MAP_SIDE)
    return next(enough, len(channels))


@torch.no_grad()
def raise_contrast(layers: nn.Sequential, background: tuple[float, float, float]) -> None:
    """Change a network's first weights as if pictures stood out from the background more.

    In most of a scene's pixels there is nothing, and what shows how an object is turned is a faint
    difference of shades: with the usual weights it is learned several times more slowly.
    """
    first = layers[0]
    assert isinstance(first, nn.Conv2d) and first.bias is not None
    first.weight *= CONTRAST
    first.bias -= first.weight.sum(dim=(2, 3)) @ first.weight.new_tensor(background)


class FlatEncoder(Convolutions):
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
        map_channels: numbers that stand for each place.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        channels: tuple[int, ...],
        features: int,
        map_channels: int,
    ):
        super().__init__()
        used = halvings_to_map(image_size, channels)
        fine = halvings(in_channels, channels[:used])
        in_channels = channels[used - 1] if used else in_channels
        fine += [nn.Conv2d(in_channels, in_channels, 3, padding=1), rectifier()]
        self.fine = Convolutions(*fine)
        self.places = nn.Conv2d(in_channels, map_channels, 1)
        self.map_size = halved(image_size, used)
        self.coarse = conv_encoder(in_channels, self.map_size, channels[used:], features)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Encoded:
        """Encode images."""
        fine = self.fine(images)
        return Encoded(self.coarse(fine), self.places(fine))


def cell_centres(height: int, width: int) -> Float[Tensor, "cell 2"]:
    """Return (x, y) of the middles of a map's places, row by row; -1 and 1 are its edges."""
    y = (2 * torch.arange(height) + 1) / height - 1
    x = (2 * torch.arange(width) + 1) / width - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)
