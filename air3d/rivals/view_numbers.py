"""A view as numbers that a regression can hit."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.models.views import from_first, from_zero
from air3d.scene import View, ViewPrior


class ViewNumbers:
    """Take what a scene file leaves open of camera and light to numbers about 0, and back.

    Angles on the full circle become a cosine and a sine; each after the first (the light's after
    the camera's) is counted from the first, as it shows in the image. Of the others, the prior's
    range becomes [-1, 1].

    Attributes:
        size: how many numbers; 0 where the view is known.

    Args:
        prior: p(camera, light).
    """

    def __init__(self, prior: ViewPrior):
        self.prior = prior
        places = range(len(prior.unknowns))
        self._circular = [place for place in places if prior.unknowns[place].circular]
        self._linear = [place for place in places if not prior.unknowns[place].circular]
        ranges = [prior.unknowns[place].range for place in self._linear]
        self._centre = torch.tensor([0.5 * (side.low + side.high) for side in ranges])
        self._half_width = torch.tensor([0.5 * (side.high - side.low) for side in ranges])
        self.size = 2 * len(self._circular) + len(self._linear)

    def encode(self, view: View) -> Float[Tensor, "batch number"]:
        """Return the numbers of views."""
        coordinates = self.prior.coordinates(view)
        angles = from_first(coordinates[:, self._circular])
        linear = (coordinates[:, self._linear] - self._centre) / self._half_width
        return torch.cat([angles.cos(), angles.sin(), linear], dim=1)

    def decode(self, numbers: Float[Tensor, "batch number"]) -> View:
        """Return the views that numbers stand for, within the prior's ranges."""
        angles = len(self._circular)
        cosines, sines, linear = numbers.split([angles, angles, len(self._linear)], dim=1)
        turned = from_zero(torch.atan2(sines, cosines))
        metric = self._centre + self._half_width * linear.clamp(-1, 1)
        order = torch.tensor(self._circular + self._linear, dtype=torch.int64).argsort()
        return self.prior.view(torch.cat([turned, metric], dim=1)[:, order])
