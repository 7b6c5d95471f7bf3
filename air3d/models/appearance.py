"""An object's scale and colour, as far as a scene file leaves them open."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from air3d.scene import ScenePrior, SoftBox

MIN_STD = 5e-3


class Appearance(nn.Module):
    """Scale and colour as A numbers, each of which the prior draws from [-1, 1].

    Attributes:
        size: A; 1 for the scale and 3 for the colour, where they are open.

    Args:
        prior: p(scene).
    """

    centre: Tensor
    half_width: Tensor

    def __init__(self, prior: ScenePrior):
        super().__init__()
        self.has_scale, self.has_colour = prior.scale is not None, prior.colour is not None
        boxes = [box for box in (prior.scale, prior.colour) if box is not None]
        low = torch.cat([torch.zeros(0), *(box.low for box in boxes)])
        high = torch.cat([torch.zeros(0), *(box.high for box in boxes)])
        self.size = len(low)
        self.box = SoftBox(low, high)
        self.register_buffer("centre", 0.5 * (low + high), persistent=False)
        self.register_buffer("half_width", 0.5 * (high - low), persistent=False)

    def posterior(self, raw: Float[Tensor, "*batch output"]) -> Normal:
        """Read a network's 2 A outputs as independent normals."""
        loc, raw_scale = raw.tensor_split(2, dim=-1)
        std = nn.functional.softplus(raw_scale - 1.0) + MIN_STD
        return Normal(loc, std, validate_args=False)

    def to_unit(
        self, scale: Float[Tensor, "*batch"], colour: Float[Tensor, "*batch 3"]
    ) -> Float[Tensor, "*batch appearance"]:
        """Return the numbers that stand for a scale and a colour."""
        parts = [scale[..., None]] * self.has_scale + [colour] * self.has_colour
        metric = torch.cat([colour[..., :0], *parts], dim=-1)
        return (metric - self.centre) / self.half_width

    def from_unit(
        self, unit: Float[Tensor, "*batch appearance"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch 3"]]:
        """Return the scale and the colour that numbers stand for; 1 and white if they are fixed.

        They are kept within what the prior allows, so that nothing has a size below 0.
        """
        metric = self.centre + self.half_width * unit.clamp(-1, 1)
        ones = unit.new_ones(*unit.shape[:-1], 3)
        scale = metric[..., 0] if self.has_scale else ones[..., 0]
        colour = metric[..., -3:] if self.has_colour else ones
        return scale, colour

    def kl(self, q: Normal, unit: Float[Tensor, "*batch appearance"]) -> Float[Tensor, "*batch"]:
        """Return log q - log p of a draw from ``q``."""
        log_q = (q.log_prob(unit) - self.half_width.log()).sum(dim=-1)
        return log_q - self.box.log_prob(self.centre + self.half_width * unit)
