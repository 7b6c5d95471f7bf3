"""Convolutional encoders: image or glimpse -> feature vector."""

from torch import nn


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
