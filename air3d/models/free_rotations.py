"""A density of all rotations that can be multi-modal: a mixture of normals on fixed bins.

The bins are rotations that lie evenly among those that look different: as for yaw, a mixture whose
modes roam freely stays on a plateau. Each component is a normal density of the vector of the turn
that takes its mean to a rotation, summed over the rotations that look the same; so equivalent
rotations have equal density, and all of them together are one target.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import rotation_of, spread_rotations
from air3d.models.rotations import RotationDensity, RotationHead, SomeRotations
from air3d.models.tempering import with_gradient_of
from air3d.scene import FREE_VOLUME, Mesh, SymmetryGroup

CANDIDATES = 4096
"""Rotations among which bins are chosen."""

WIDEST = 0.5
"""Largest standard deviation (radians): of a wider normal some would lie beyond half a turn."""

NARROWEST = 2e-3


@dataclass(frozen=True)
class FreeDensity(RotationDensity):
    """q(rotation) of a batch of objects for each of M identities, K components each.

    The measure is the vectors' of small turns (rad^3), by which all rotations have the volume
    8 pi^2. Of a solid of revolution only the direction of the axis has a density (1/rad^2), and
    that is spread over the angle about it; of a ball all rotations are equally dense.

    Attributes:
        log_weight: normalised over the last axis.
        centres: the bins' own rotations, in the axes of the line of sight.
        turn: vector by which each component's mean is turned on from its bin, radians.
        std: of each component, of the vector that turns its mean, radians, at most ``WIDEST``.
        sight: the axes of the line of sight in the world.
        groups: of each identity.
    """

    log_weight: Float[Tensor, "batch identity component"]
    centres: Float[Tensor, "identity component 3 3"]
    turn: Float[Tensor, "batch identity component 3"]
    std: Float[Tensor, "batch identity component"]
    sight: Float[Tensor, "batch 3 3"]
    groups: tuple[SymmetryGroup, ...]

    def log_prob(
        self, rotation: Float[Tensor, "batch identity 3 3"]
    ) -> Float[Tensor, "batch identity"]:
        """Return the log-density; gradients reach the rotations and the parameters."""
        every = torch.arange(len(rotation), device=rotation.device)
        each = [self._log_prob(every, m, rotation[:, m]) for m in range(len(self.groups))]
        return torch.stack(each, dim=1)

    def teach(
        self, rotation: Float[Tensor, "batch 3 3"], identity: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the log-density of a true rotation of a true identity each.

        Gradients teach the component in whose bin the rotation lies (see ``YawMixture``); its
        share of the density bounds the density from below.
        """
        log_prob = torch.zeros_like(rotation[:, 0, 0])
        for index in range(len(self.groups)):
            rows = (identity == index).nonzero()[:, 0]
            found = self._teach(rows, index, rotation[rows])
            log_prob = log_prob.index_put((rows,), found)
        return log_prob

    def _teach(
        self, rows: Int[Tensor, " row"], index: int, rotation: Float[Tensor, "row 3 3"]
    ) -> Float[Tensor, " row"]:
        group, seen = self.groups[index], self.sight[rows].mT @ rotation
        away = group.angles(self.centres[index].mT @ seen[:, None]).amin(dim=-1)
        bin_of = away.argmin(dim=-1)
        part = rows, index, bin_of
        mean = rotation_of(self.turn[part]) @ self.centres[index, bin_of]
        angles, std = group.angles(mean.mT @ seen), self.std[part]
        normal = _log_density(angles[:, None], std[:, None], group)[:, 0]
        with torch.no_grad():
            log_prob = self._log_prob(rows, index, rotation)
        return with_gradient_of(self.log_weight[part] + normal, log_prob)

    def _log_prob(
        self, rows: Int[Tensor, " row"], index: int, rotation: Float[Tensor, "row 3 3"]
    ) -> Float[Tensor, " row"]:
        """Return the log-density of rotations of some rows of the batch, of one identity."""
        seen = self.sight[rows].mT @ rotation
        # Here and below only the means that are asked for are made: of all there are many.
        mean = rotation_of(self.turn[rows, index]) @ self.centres[index]
        angles = self.groups[index].angles(mean.mT @ seen[:, None])
        components = _log_density(angles, self.std[rows, index], self.groups[index])
        return (self.log_weight[rows, index] + components).logsumexp(dim=-1)

    def rsample(self) -> Float[Tensor, "batch identity 3 3"]:
        """Draw a rotation, or one that looks the same.

        Gradients reach the drawn component's mean and std, none the choice of the component.
        """
        flat = self.log_weight.detach().exp().flatten(0, 1)
        component = torch.multinomial(flat, 1).reshape(*self.std.shape[:2], 1)
        return (self.sight[:, None, None] @ self._draw(component))[:, :, 0]

    def rsample_some(self, number: int) -> SomeRotations:
        """Draw from the weightiest component and from others taken at random."""
        best = self.log_weight.argmax(dim=-1, keepdim=True)
        order = torch.rand_like(self.log_weight).scatter(-1, best, 2.0)
        component = order.topk(number, dim=-1).indices
        drawn, mean = self._draw(component), self._means(component)
        std = self.std.gather(-1, component)
        turn = mean.mT @ drawn
        log_prob = [
            _log_density(group.angles(turn[:, index]), std[:, index], group)
            for index, group in enumerate(self.groups)
        ]
        return SomeRotations(
            self.sight[:, None, None] @ drawn,
            self.log_weight.gather(-1, component).log_softmax(dim=-1),
            torch.stack(log_prob, dim=1),
        )

    def _draw(
        self, component: Int[Tensor, "batch identity chosen"]
    ) -> Float[Tensor, "batch identity chosen 3 3"]:
        """Draw a rotation from each of some components, in the axes of the line of sight."""
        mean = self._means(component)
        vector = self.std.gather(-1, component)[..., None] * torch.randn_like(mean[..., 0])
        across = [_keep_across(vector[:, i], mean[:, i], g) for i, g in enumerate(self.groups)]
        return rotation_of(torch.stack(across, dim=1)) @ mean

    def modes(self, number: int) -> Float[Tensor, "batch identity mode 3 3"]:
        """Return the means of the ``number`` components of highest peak density, best first."""
        freedom = self.std.new_tensor([group.freedom for group in self.groups])
        peak = (self.log_weight - freedom[:, None] * self.std.log()).detach()
        best = peak.topk(number, dim=-1).indices
        return self.sight[:, None, None] @ self._means(best)

    def with_fixed_weights(self) -> "FreeDensity":
        """Return the density with weights that carry no gradient (see ``YawMixture``)."""
        return dataclasses.replace(self, log_weight=self.log_weight.detach())

    def _means(self, component: Tensor) -> Float[Tensor, "batch identity chosen 3 3"]:
        identity = torch.arange(len(self.groups), device=component.device)[:, None]
        turn = self.turn.gather(2, component[..., None].expand(*component.shape, 3))
        return rotation_of(turn) @ self.centres[identity, component]


def _log_density(
    angles: Float[Tensor, "batch component turn"],
    std: Float[Tensor, "batch component"],
    group: SymmetryGroup,
) -> Float[Tensor, "batch component"]:
    """Return each component's log-density of a rotation, from how far its mean is from its twins.

    The volume of the rotations, or of the directions of an axis, that vectors of a length stand for
    is less than the vectors' own: by (sin(a / 2) / (a / 2))^2, or by sin(a) / a.
    """
    if group.freedom == 0:
        return torch.full_like(std, -math.log(FREE_VOLUME))
    shrink = torch.sinc(angles / math.pi) if group.freedom == 2 else _half_sinc(angles).square()
    normal = -0.5 * (angles / std[..., None]).square() - shrink.clamp(min=1e-4).log()
    scale = group.freedom * (std.log() + 0.5 * math.log(2 * math.pi))
    alike = len(group.turns) * (2 * math.pi if group.freedom == 2 else 1.0)
    return normal.logsumexp(dim=-1) - scale - math.log(alike)


def _half_sinc(angles: Tensor) -> Tensor:
    return torch.sinc(0.5 * angles / math.pi)


def _keep_across(
    vector: Float[Tensor, "*batch 3"], mean: Float[Tensor, "*batch 3 3"], group: SymmetryGroup
) -> Float[Tensor, "*batch 3"]:
    """Take from turns what goes about the axis of a solid of revolution, which nothing shows."""
    if group.freedom != 2:
        return vector
    axis = mean @ group.axes[0].to(mean)
    return vector - (vector * axis).sum(dim=-1, keepdim=True) * axis


class FreeHead(RotationHead):
    """Rotations in a mixture on fixed bins, counted in the axes of the line of sight.

    Args:
        meshes: M of them; their ``group`` counts.
        bins: components of each mixture.
    """

    centres: Tensor
    width: Tensor
    num_modes = 16

    def __init__(self, meshes: tuple[Mesh, ...], bins: int):
        super().__init__()
        self.bins = bins
        self.size = 5 * bins
        self.groups = tuple(mesh.group for mesh in meshes)
        chosen = [_spread_bins(group, bins) for group in self.groups]
        # They belong to the weights: chosen anew after some rounding, they might be others.
        self.register_buffer("centres", torch.stack([centres for centres, _ in chosen]))
        self.register_buffer("width", torch.tensor([width for _, width in chosen]))

    def density(
        self, raw: Float[Tensor, "batch identity output"], sight: Float[Tensor, "batch 3 3"]
    ) -> FreeDensity:
        """Return q(rotation): logits, turns of at most a bin's width about each axis, and std."""
        raw = raw.unflatten(-1, (self.bins, 5))
        width = self.width[:, None]
        turn = width[..., None] * torch.tanh(raw[..., 1:4])
        std = NARROWEST + width.clamp(max=WIDEST - NARROWEST) * torch.sigmoid(raw[..., 4] - 1.0)
        log_weight = raw[..., 0].log_softmax(dim=-1)
        return FreeDensity(log_weight, self.centres, turn, std, sight, self.groups)


def _spread_bins(group: SymmetryGroup, number: int) -> tuple[Float[Tensor, "number 3 3"], float]:
    """Choose rotations that look as different as can be, and say how far others are from them.

    Each is the farthest from those before it (Gonzalez 1985); the distance is in radians.
    """
    candidates = spread_rotations(CANDIDATES).float()
    chosen, away = [candidates[0]], torch.full((CANDIDATES,), math.inf)
    for _ in range(number):
        away = torch.minimum(away, group.angle(candidates, chosen[-1]))
        chosen.append(candidates[away.argmax()])
    return torch.stack(chosen[:number]), float(away.max())
