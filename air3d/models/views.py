"""q(camera, light | x): what the guide says of the view before it looks for objects."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal

from air3d.models.yaw import YawMixture
from air3d.scene import View, ViewPrior

BINS = 24
"""Components of the density of an angle on the full circle."""


@dataclass(frozen=True)
class SeenView:
    """The view that the guide goes by: drawn, or told.

    Attributes:
        view: camera and light of each image.
        coordinates: the same in the coordinates that the scene file leaves open [B, D].
        kl: log q - log p of the coordinates [B]; 0 where they were told.
        std: standard deviations of the coordinates, near where they were drawn [B, D]; 0 where they
            were told; no gradients reach them.
        choice_log_prob: log q of the angles on the full circle, whose mixture's component is
            chosen without a gradient [B]; gradients reach the density and not the draw; 0 where
            they were told.
    """

    view: View
    coordinates: Float[Tensor, "batch unknown"]
    kl: Float[Tensor, " batch"]
    std: Float[Tensor, "batch unknown"]
    choice_log_prob: Float[Tensor, " batch"]

    def __getitem__(self, rows: Int[Tensor, " row"]) -> "SeenView":
        """Return the views of some of the images."""
        view = View(self.view.camera[rows], self.view.light[rows])
        others = (self.coordinates, self.kl, self.std, self.choice_log_prob)
        return SeenView(view, *(value[rows] for value in others))


@dataclass(frozen=True)
class ViewPosterior:
    """Independent densities of the coordinates.

    Attributes:
        circular: of the angles on a full circle [B, D1]; each after the first (the light's after
            the camera's) is counted from the first, as it shows in the image.
        linear: of the others, whose range of the prior is [-1, 1] [B, D2].
    """

    circular: YawMixture
    linear: Normal


class ViewHead(nn.Module):
    """Say from where and under which light an image was taken, given its features.

    Args:
        prior: p(camera, light); a head without unknowns has no weights and knows the view.
        num_features: of the image.
        hidden: width of the hidden layer.
    """

    order: Tensor
    is_circular: Tensor
    middle: Tensor
    centre: Tensor
    half_width: Tensor

    def __init__(self, prior: ViewPrior, num_features: int, hidden: int):
        super().__init__()
        self.prior = prior
        is_circular = [unknown.circular for unknown in prior.unknowns]
        self.circular = [index for index, circular in enumerate(is_circular) if circular]
        self.linear = [index for index, circular in enumerate(is_circular) if not circular]
        self.sizes = [3 * BINS * len(self.circular), 2 * len(self.linear)]
        self.tell = nn.Sequential()
        if prior.unknowns:
            layers = nn.Linear(num_features, hidden), nn.ReLU(), nn.Linear(hidden, sum(self.sizes))
            self.tell.extend(layers)
        low = torch.tensor([unknown.range.low for unknown in prior.unknowns])
        high = torch.tensor([unknown.range.high for unknown in prior.unknowns])
        constants = {
            "order": torch.tensor([*self.circular, *self.linear], dtype=torch.int64).argsort(),
            "is_circular": torch.tensor(is_circular, dtype=torch.bool),
            "middle": 0.5 * (low + high),
            "centre": 0.5 * (low + high)[self.linear],
            "half_width": 0.5 * (high - low)[self.linear],
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def posterior(self, features: Float[Tensor, "batch feature"]) -> ViewPosterior:
        """Return q(camera, light | x)."""
        raw = self.tell(features)[:, : sum(self.sizes)]  # nothing where there is no layer
        angles, rest = raw.split(self.sizes, dim=1)
        loc, raw_scale = rest.tensor_split(2, dim=1)
        angles = angles.reshape(len(features), len(self.circular), BINS, 3)
        origin = torch.zeros_like(angles[..., 0, 0])
        order = torch.ones_like(origin, dtype=torch.int64)
        return ViewPosterior(
            YawMixture.from_raw(angles, origin, order),
            Normal(loc, nn.functional.softplus(raw_scale) + 2e-3, validate_args=False),
        )

    def sample(self, features: Float[Tensor, "batch feature"]) -> SeenView:
        """Draw a view; gradients as the densities' reparameterisations give them."""
        posterior = self.posterior(features)
        return self._seen(posterior, posterior.circular.rsample(), posterior.linear.rsample())

    def mode(self, features: Float[Tensor, "batch feature"]) -> SeenView:
        """Take the most probable view."""
        posterior = self.posterior(features)
        modes = posterior.circular.modes(1)[..., 0]
        return self._seen(posterior, modes, posterior.linear.mean)

    def told(self, view: View) -> SeenView:
        """Go by a view that is known."""
        coordinates = self.prior.coordinates(view)
        nothing = torch.zeros_like(view.light.source[:, 0])
        return SeenView(view, coordinates, nothing, torch.zeros_like(coordinates), nothing)

    def teach(
        self, features: Float[Tensor, "batch feature"], view: View
    ) -> Float[Tensor, " batch"]:
        """Return log q of the true view, with gradients that teach it.

        Angles on the circle teach the bins that they lie in. The density is that of angles in
        radians and of the others in half widths of their range. Gradients are not tempered as those
        of objects are: tempered, the camera's height is learned half as exactly in the same time.
        """
        posterior = self.posterior(features)
        coordinates = self.prior.coordinates(view)
        linear = (coordinates[:, self.linear] - self.centre) / self.half_width
        angles = posterior.circular.teach(from_first(coordinates[:, self.circular]))
        return angles.sum(dim=1) + posterior.linear.log_prob(linear).sum(dim=1)

    def _seen(
        self,
        posterior: ViewPosterior,
        angles: Float[Tensor, "batch circular"],
        linear: Float[Tensor, "batch linear"],
    ) -> SeenView:
        coordinates = self._in_order(from_zero(angles), self.centre + self.half_width * linear)
        with torch.no_grad():
            spread = posterior.circular.std_at(angles), self.half_width * posterior.linear.stddev
        log_q = posterior.circular.with_fixed_weights().log_prob(angles).sum(dim=1)
        log_q = log_q + (posterior.linear.log_prob(linear) - self.half_width.log()).sum(dim=1)
        kl = log_q - self.prior.log_prob(self._in_range(coordinates))
        choice = posterior.circular.log_prob(angles.detach()).sum(dim=1)
        std = self._in_order(*spread)
        return SeenView(self.prior.view(coordinates), coordinates, kl, std, choice)

    def _in_order(
        self, circular: Float[Tensor, "batch circular"], linear: Float[Tensor, "batch linear"]
    ) -> Float[Tensor, "batch unknown"]:
        """Put what is said of angles on the circle and of the others in the prior's order."""
        return torch.cat([circular, linear], dim=1)[:, self.order]

    def _in_range(self, coordinates: Float[Tensor, "batch unknown"]) -> Tensor:
        """Turn angles by full circles to where they lie nearest the middle of their range."""
        away = torch.remainder(coordinates - self.middle + math.pi, 2 * math.pi) - math.pi
        return torch.where(self.is_circular, self.middle + away, coordinates)


def from_first(angles: Float[Tensor, "batch angle"]) -> Float[Tensor, "batch angle"]:
    """Count all angles but the first from the first."""
    return torch.cat([angles[:, :1], angles[:, 1:] - angles[:, :1]], dim=1)


def from_zero(angles: Float[Tensor, "batch angle"]) -> Float[Tensor, "batch angle"]:
    """Undo :func:`from_first`, up to full circles."""
    return torch.cat([angles[:, :1], angles[:, 1:] + angles[:, :1]], dim=1)
