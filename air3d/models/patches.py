"""The 2D head of the guide: where a patch is, and what it looks like."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from air3d.models.attention import read_glimpse
from air3d.models.guide import Head, Look, Observation
from air3d.models.latents import PatchLatents, windows_of


@dataclass(frozen=True)
class PatchPrior:
    """Normal priors on z_where = (log half side, x, y) and z_what.

    A tight prior on the scale keeps one window from covering two digits.
    """

    where_loc: tuple[float, float, float] = (math.log(0.43), 0.0, 0.0)
    where_scale: tuple[float, float, float] = (0.1, 0.5, 0.5)


class PatchHead(Head):
    """q(z_where | state) and q(z_what | glimpse at z_where), diagonal normals.

    Args:
        state_size: width of the guide's recurrent state.
        glimpse_size: side of the glimpse, pixels.
        code_size: D, width of z_what.
        hidden: width of the patch encoder's hidden layer.
        prior: p(z_where), and a standard normal on z_what.
    """

    where_loc: Tensor
    where_scale: Tensor

    def __init__(
        self, state_size: int, *, glimpse_size: int, code_size: int, hidden: int, prior: PatchPrior
    ):
        super().__init__()
        self.glimpse_size = glimpse_size
        self.num_memory = 3 + code_size
        self.num_evidence = 0
        where_out = nn.Linear(hidden, 6)
        self.where = nn.Sequential(nn.Linear(state_size, hidden), nn.ReLU(), where_out)
        self.what = nn.Sequential(
            nn.Flatten(),
            nn.Linear(glimpse_size**2, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2 * code_size),
        )
        self.register_buffer("where_loc", torch.tensor(prior.where_loc), persistent=False)
        self.register_buffer("where_scale", torch.tensor(prior.where_scale), persistent=False)
        # The windows start as the prior's mean with a small variance, spread by the image alone.
        nn.init.normal_(where_out.weight, std=0.01)
        nn.init.zeros_(where_out.bias)

    def blank(self, observation: Observation) -> None:
        """Give no canvas: steps go by the recurrent state alone."""

    def look(self, places: Tensor | None, left_over: Tensor | None, state: Tensor) -> Look:
        """Take the state for all there is to see."""
        return Look(state, state[:, :0])

    def sample(self, observation: Observation, look: Look) -> PatchLatents:
        """Draw z_where, then z_what, by reparameterisation; the KL is exact given z_where."""
        return self._draw(observation.images, look.state, lambda q: q.rsample())

    def mode(self, observation: Observation, look: Look) -> PatchLatents:
        """Take the mean of z_where, then of z_what."""
        return self._draw(observation.images, look.state, lambda q: q.mean)

    def _draw(self, images: Tensor, state: Tensor, choose) -> PatchLatents:
        loc, raw = self.where(state).chunk(2, dim=-1)
        scale = nn.functional.softplus(raw - 2.0) + 1e-4
        q_where = Normal(
            self.where_loc + loc * self.where_scale, scale * self.where_scale, validate_args=False
        )
        z_where = choose(q_where)
        windows = windows_of(z_where, (images.shape[-2], images.shape[-1]))
        loc, raw = self.what(read_glimpse(images, windows, self.glimpse_size)).chunk(2, dim=-1)
        q_what = Normal(loc, nn.functional.softplus(raw) + 1e-4, validate_args=False)
        z_what = choose(q_what)
        kl = kl_divergence(q_where, Normal(self.where_loc, self.where_scale)).sum(dim=-1)
        kl = kl + kl_divergence(q_what, Normal(0.0, 1.0)).sum(dim=-1)
        return PatchLatents(
            kl=kl[:, None],
            identity_log_prob=torch.zeros_like(kl)[:, None],
            z_where=z_where,
            z_what=z_what,
        )
