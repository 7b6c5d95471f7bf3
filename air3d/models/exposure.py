"""What a camera made of the light that a scene sends it: gain, offset and noise of each picture."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

GAIN_RANGE = (0.25, 4.0)
RIDGE = 1e-4
"""Variance of pixels that pull a gain towards 1: an even picture tells nothing of it."""
LEAST_NOISE = 1e-3


@dataclass(frozen=True)
class Exposure:
    """How B pictures came from renders: picture = gain (render + noise) + offset.

    A line is what a tone curve is to first order: an offset stands for stray light and for the
    lifted shadows of a camera's gamma, the gains for exposure time and the colour of the light.

    Attributes:
        gain, offset: of each colour channel [B, C].
        noise_std: of the noise before the gain [B].
    """

    gain: Float[Tensor, "batch channel"]
    offset: Float[Tensor, "batch channel"]
    noise_std: Float[Tensor, " batch"]

    @classmethod
    def fitted(
        cls,
        pictures: Float[Tensor, "batch channel height width"],
        renders: Float[Tensor, "batch channel height width"],
    ) -> "Exposure":
        """Return the exposures under which pictures come nearest to renders, by least squares."""
        from_mean = [
            images - images.mean(dim=(2, 3), keepdim=True) for images in (pictures, renders)
        ]
        shared = (from_mean[0] * from_mean[1]).mean(dim=(2, 3)) + RIDGE
        gain = shared / (from_mean[1].square().mean(dim=(2, 3)) + RIDGE)
        gain = gain.clamp(*GAIN_RANGE)
        offset = pictures.mean(dim=(2, 3)) - gain * renders.mean(dim=(2, 3))
        exposure = cls(gain, offset, torch.ones_like(gain[:, 0]))
        left = (exposure.undone(pictures) - renders).square().mean(dim=(1, 2, 3)).sqrt()
        return cls(gain, offset, left.clamp(min=LEAST_NOISE))

    def __len__(self) -> int:
        return len(self.gain)

    def __getitem__(self, rows: Int[Tensor, " row"]) -> "Exposure":
        """Return the exposures of some of the pictures, as often as they are named."""
        return Exposure(self.gain[rows], self.offset[rows], self.noise_std[rows])

    def to(self, device: torch.device | str) -> "Exposure":
        """Return the same exposures on another device."""
        return Exposure(*(part.to(device) for part in vars(self).values()))

    def undone(
        self, pictures: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Return the renders with noise that the pictures came from."""
        return (pictures - self.offset[..., None, None]) / self.gain[..., None, None]

    def exposed(
        self, renders: Float[Tensor, "batch channel height width"], noise_std: float
    ) -> Float[Tensor, "batch channel height width"]:
        """Return pictures of renders that have noise of ``noise_std`` already.

        Noise is added by torch's global random state, none where there is as much already.
        """
        missing = (self.noise_std.square() - noise_std**2).clamp(min=0.0).sqrt()
        noisy = renders + missing[:, None, None, None] * torch.randn_like(renders)
        return noisy * self.gain[..., None, None] + self.offset[..., None, None]

    def log_density(
        self, squared_error: Float[Tensor, "batch hypothesis"], num_pixels: int
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(picture | render) from the squared error of undone pictures."""
        std = self.noise_std[:, None]
        per_value = torch.log(std * math.sqrt(2 * math.pi))
        per_pixel = self.gain.shape[1] * per_value + self.gain.log().sum(dim=1, keepdim=True)
        return -0.5 * squared_error / std.square() - num_pixels * per_pixel
