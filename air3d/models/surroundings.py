"""What the view tells of the look of an object: light from where, camera how high and how far."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from air3d.models.views import SeenView
from air3d.scene import ViewPrior


class Surroundings(nn.Module):
    """The unknowns of a view as inputs of a network; none where the view is known.

    Angles about z count from the line of sight, so that they mean the same wherever the camera
    stands; a camera's azimuth then says nothing. The other numbers are scaled to [-1, 1]. A light's
    unknown azimuth is left out: the whole image hardly tells it, so that to be told it by the
    teacher and to guess it later are two things, and an object's own glimpse shows it.

    Attributes:
        size: how many inputs there are.

    Args:
        prior: p(camera, light).
    """

    centre: Tensor
    half_width: Tensor

    def __init__(self, prior: ViewPrior):
        super().__init__()
        unknowns = prior.unknowns
        self.linear = [index for index, unknown in enumerate(unknowns) if not unknown.circular]
        ranges = [unknowns[index].range for index in self.linear]
        low = torch.tensor([side.low for side in ranges])
        high = torch.tensor([side.high for side in ranges])
        self.register_buffer("centre", 0.5 * (low + high), persistent=False)
        self.register_buffer("half_width", 0.5 * (high - low), persistent=False)
        lit_from = not any(unknown.name == "light_azimuth" for unknown in unknowns)
        self.size = len(self.linear) + 2 * lit_from if unknowns else 0

    def forward(
        self, seen: SeenView, sight: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch input"]:
        """Return the inputs, given the azimuth (radians) of the line of sight."""
        linear = (seen.coordinates[:, self.linear] - self.centre) / self.half_width
        source = seen.view.light.source
        azimuth = torch.atan2(source[:, 1], source[:, 0]) - sight
        inputs = torch.cat([linear, azimuth.cos()[:, None], azimuth.sin()[:, None]], dim=1)
        return inputs[:, : self.size]
