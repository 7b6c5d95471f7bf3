"""What a camera does to pictures that no scene file speaks of, for tests of how models bear it."""

import dataclasses
import math
from dataclasses import dataclass

import scipy.ndimage
import torch
from jaxtyping import Float
from torch import Tensor

from air3d.data.errors import DataError
from air3d.geometry import yaw_rotation
from air3d.scene import Scenes


@dataclass(frozen=True)
class Disturbances:
    """How images differ from those that a scene file describes (scenes of meshes only).

    Every image has its own light, brightness and tint, drawn uniformly. They come in a camera's
    order: light, blur, brightness and tint, noise, gamma.
    """

    brightness: float = 0.0
    """Multiply each image by a number within this of 1."""
    tint: float = 0.0
    """Multiply each colour channel of each image by a number within this of 1."""
    blur: float = 0.0
    """Standard deviation of a Gaussian blur, pixels."""
    noise: float = 1.0
    """Multiply the noise's standard deviation by this."""
    light: float = 0.0
    """Turn each image's light about the vertical by at most this, degrees to either side."""
    gamma: float = 1.0
    """Raise all images to the power 1 / this; a camera's files have 2.2, renders are linear."""

    def __post_init__(self):
        for name, most in (("brightness", 1.0), ("tint", 1.0), ("blur", 20.0), ("light", 180.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= most:
                raise DataError(f"{name} must be from 0 to {most:g}, got {value}")
        if not 0.0 <= self.noise < math.inf:
            raise DataError(f"noise must be a number that is not negative, got {self.noise}")
        if not 0.0 < self.gamma < math.inf:
            raise DataError(f"gamma must be a number greater than 0, got {self.gamma}")

    def __bool__(self) -> bool:
        return self != Disturbances()

    def relit(self, scenes: Scenes, generator: torch.Generator) -> Scenes:
        """Return the scenes, each under its own light."""
        turn = math.radians(self.light) * _within_one((len(scenes),), generator)
        direction, rest = scenes.light.source[:, :3], scenes.light.source[:, 3:]
        turned = (yaw_rotation(turn) @ direction[..., None])[..., 0]
        light = dataclasses.replace(scenes.light, source=torch.cat([turned, rest], dim=1))
        return dataclasses.replace(scenes, light=light)

    def disturbed(
        self, images: Float[Tensor, "batch channel height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channel height width"]:
        """Blur images without noise, make each brighter or darker, and tint it."""
        number, channels = images.shape[:2]
        gain = 1.0 + self.brightness * _within_one((number, 1, 1, 1), generator)
        tint = 1.0 + self.tint * _within_one((number, channels, 1, 1), generator)
        blur = (0.0, 0.0, self.blur, self.blur)
        blurred = scipy.ndimage.gaussian_filter(images.numpy(), blur, mode="nearest")
        return gain * tint * torch.from_numpy(blurred)

    def developed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Apply gamma to images with noise; what is below 0 has no power and becomes 0."""
        return images if self.gamma == 1.0 else images.clamp(min=0.0) ** (1.0 / self.gamma)

    def describe(self) -> str:
        """Name what is disturbed, in a few words; nothing for no disturbance."""
        words = {
            "brightness": f"brightness +-{100 * self.brightness:g} %",
            "tint": f"tint +-{100 * self.tint:g} %",
            "blur": f"blur {self.blur:g} px",
            "noise": f"noise x {self.noise:g}",
            "light": f"light +-{self.light:g} degrees",
            "gamma": f"gamma {self.gamma:g}",
        }
        fields = dataclasses.fields(self)
        changed = [f.name for f in fields if getattr(self, f.name) != f.default]
        return ", ".join(words[name] for name in changed)


def _within_one(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw numbers from [-1, 1]."""
    return 2.0 * torch.rand(shape, generator=generator) - 1.0


UNDISTURBED = Disturbances()
