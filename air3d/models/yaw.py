"""A density on the circle that can be multi-modal: a mixture of wrapped normals on fixed bins.

A mixture whose modes roam freely stays on a plateau; modes tied to bins do not. Nor is a true yaw
left to whichever component lies near: one that is reached by none but a neighbour's farthest offset
would stay wrong for ever, as the component that ought to hold it weighs nothing and learns nothing.
It is the component of the bin that the yaw lies in that learns. A mesh with a k-fold symmetry sees
only k * yaw, so all its equivalent yaws are one target.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.models.tempering import with_gradient_of

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_CONTINUOUS = 0


@dataclass(frozen=True)
class YawMixture:
    """q(yaw) of a batch of objects, K components each.

    Attributes:
        log_weight: normalised over the last axis [*, K].
        mean: of each component, in the folded angle ``order * (yaw - origin)`` [*, K].
        std: of each component, radians of the folded angle, at most 1.001 [*, K].
        origin: direction from which yaw is counted [*].
        order: of the mesh's symmetry about z; 0 for a solid of revolution, whose yaw is
            uniform and has the mode 0 [*].
    """

    log_weight: Float[Tensor, "*batch component"]
    mean: Float[Tensor, "*batch component"]
    std: Float[Tensor, "*batch component"]
    origin: Float[Tensor, "*batch"]
    order: Int[Tensor, "*batch"]

    def __getitem__(self, index: tuple[Int[Tensor, " row"], ...]) -> "YawMixture":
        """Return the densities of some of the objects."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return YawMixture(*(value[index] for value in fields))

    @classmethod
    def from_raw(
        cls,
        raw: Float[Tensor, "*batch component 3"],
        origin: Float[Tensor, "*batch"],
        order: Int[Tensor, "*batch"],
    ) -> "YawMixture":
        """Read a network's output as logits, offsets of at most a bin's width, and std."""
        bins = raw.shape[-2]
        width = 2 * math.pi / bins
        centres = width * (torch.arange(bins, device=raw.device) + 0.5) - math.pi
        std = 1e-3 + torch.sigmoid(raw[..., 2] - 1.5)
        mean = centres + width * torch.tanh(raw[..., 1])
        return cls(raw[..., 0].log_softmax(dim=-1), mean, std, origin, order)

    def log_prob(self, yaw: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return the log-density (1/rad) of yaw; gradients reach yaw and the parameters."""
        folded = (self.order * (yaw - self.origin))[..., None] - self.mean
        turns = 2 * math.pi * torch.tensor([-1.0, 0.0, 1.0], device=yaw.device)
        z = (_wrap(folded)[..., None] + turns) / self.std[..., None]
        wrapped = (-0.5 * z.square()).logsumexp(dim=-1) - self.std.log() - _LOG_SQRT_2PI
        mixture = (self.log_weight + wrapped).logsumexp(dim=-1)
        return torch.where(self.order == _CONTINUOUS, -math.log(2 * math.pi), mixture)

    def teach(self, yaw: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return the log-density of a true yaw, with gradients that teach its bin's component.

        Its share of the density bounds the density from below.
        """
        bins = self.log_weight.shape[-1]
        folded = _wrap(self.order * (yaw - self.origin))[..., None]
        bin_of = ((folded / math.pi + 1) * (bins / 2)).long().clamp(max=bins - 1)
        mean, std = self.mean.gather(-1, bin_of), self.std.gather(-1, bin_of)
        z = _wrap(folded - mean) / std
        share = self.log_weight.gather(-1, bin_of) - 0.5 * z.square() - std.log()
        taught = torch.where(self.order == _CONTINUOUS, 0.0, share[..., 0])
        with torch.no_grad():
            log_prob = self.log_prob(yaw)
        return with_gradient_of(taught, log_prob)

    def std_at(self, yaw: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Return the standard deviation (radians) of the component that a yaw most likely is of.

        Of a solid of revolution it says nothing.
        """
        z = _wrap((self.order * (yaw - self.origin))[..., None] - self.mean) / self.std
        likeliest = (self.log_weight - 0.5 * z.square() - self.std.log()).argmax(-1, keepdim=True)
        return self.std.gather(-1, likeliest)[..., 0] / self.order.clamp(min=1)

    def with_fixed_weights(self) -> "YawMixture":
        """Return the mixture with weights that carry no gradient.

        A sample's component is chosen without one, so all that the weights would get from the
        log-density of samples is a score of mean zero: noise.
        """
        return dataclasses.replace(self, log_weight=self.log_weight.detach())

    def rsample(self) -> Float[Tensor, "*batch"]:
        """Draw a yaw in [-pi, pi); gradients reach the drawn component's mean and std.

        The choice of the component itself carries none: the mixture's weights are learned in
        the sleep phase.
        """
        flat = self.log_weight.detach().exp().flatten(0, -2)
        component = torch.multinomial(flat, 1).reshape(*self.origin.shape, 1)
        mean = self.mean.gather(-1, component)[..., 0]
        std = self.std.gather(-1, component)[..., 0]
        folded = mean + std * torch.randn_like(std)
        uniform = 2 * math.pi * torch.rand_like(std)
        return self._unfold(torch.where(self.order == _CONTINUOUS, uniform, folded))

    def rsample_some(self, number: int) -> "SomeYaws":
        """Draw a yaw of each of some components; gradients reach their means and std.

        They are the weightiest, and others spread evenly from there on.
        """
        bins = self.log_weight.shape[-1]
        steps = torch.arange(number, device=self.mean.device) * bins // number
        away = torch.randint(bins, (*self.origin.shape, 1), device=self.mean.device)
        best = self.log_weight.argmax(dim=-1, keepdim=True)
        others = (best + 1 + (away + steps[1:]) % (bins - 1)) % bins
        component = torch.cat([best, others], dim=-1)
        mean, std = self.mean.gather(-1, component), self.std.gather(-1, component)
        noise = torch.randn_like(std)
        continuous = (self.order == _CONTINUOUS)[..., None]
        log_prob = -0.5 * noise.square() - std.log() - _LOG_SQRT_2PI
        folded = torch.where(continuous, 2 * math.pi * torch.rand_like(std), mean + std * noise)
        return SomeYaws(
            self._unfold(folded.movedim(-1, 0)).movedim(0, -1),
            self.log_weight.gather(-1, component).log_softmax(dim=-1),
            torch.where(continuous, -math.log(2 * math.pi), log_prob),
        )

    def modes(self, number: int) -> Float[Tensor, "*batch mode"]:
        """Return the ``number`` components of highest peak density, best first, as yaws."""
        peak = (self.log_weight - self.std.log()).detach()
        best = peak.topk(number, dim=-1).indices
        folded = self.mean.gather(-1, best)
        folded = torch.where(self.order[..., None] == _CONTINUOUS, 0.0, folded)
        return self._unfold(folded.movedim(-1, 0)).movedim(0, -1)

    def _unfold(self, folded: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return one of the equivalent yaws, in [-pi, pi)."""
        yaw = self.origin + folded / self.order.clamp(min=1)
        return _wrap(yaw)


def _wrap(angles: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return the same angles in [-pi, pi)."""
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


@dataclass(frozen=True)
class SomeYaws:
    """Yaws drawn from R components each.

    Attributes:
        yaw: in [-pi, pi) [*, R].
        log_weight: of the components among these R [*, R].
        log_prob: log-density (1/rad) of each yaw by its own component [*, R].
    """

    yaw: Float[Tensor, "*batch some"]
    log_weight: Float[Tensor, "*batch some"]
    log_prob: Float[Tensor, "*batch some"]


def symmetry_orders(symmetries: list[int | str]) -> Int[Tensor, " identity"]:
    """Return the orders that :class:`YawMixture` uses, 0 standing for ``"continuous"``."""
    orders = [_CONTINUOUS if s == "continuous" else s for s in symmetries]
    return torch.tensor(orders, dtype=torch.int64)
