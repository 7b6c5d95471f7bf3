"""What the guide says of how objects are turned: any density of rotation, and upright objects'."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from air3d.geometry import sight_azimuths, yaw_rotation
from air3d.models.yaw import YawMixture, symmetry_orders
from air3d.scene import Mesh


@dataclass(frozen=True)
class SomeRotations:
    """Rotations drawn from R components each.

    Attributes:
        rotation: one draw from each.
        log_weight: of the components among these R.
        log_prob: log-density of each rotation by its own component.
    """

    rotation: Float[Tensor, "batch identity some 3 3"]
    log_weight: Float[Tensor, "batch identity some"]
    log_prob: Float[Tensor, "batch identity some"]


class RotationDensity:
    """q(rotation) of a batch of objects, for each of M identities.

    The measure is that of the scene file's prior (:class:`~air3d.scene.RotationPrior`).
    """

    def log_prob(
        self, rotation: Float[Tensor, "batch identity 3 3"]
    ) -> Float[Tensor, "batch identity"]:
        """Return the log-density; gradients reach the rotations and the parameters."""
        raise NotImplementedError

    def teach(
        self, rotation: Float[Tensor, "batch 3 3"], identity: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the log-density of a true rotation of a true identity each.

        Gradients teach the component in whose bin the rotation lies (see ``YawMixture``).
        """
        raise NotImplementedError

    def rsample(self) -> Float[Tensor, "batch identity 3 3"]:
        """Draw a rotation, or one that looks the same.

        Gradients reach the drawn component's place and width, none the choice of the component.
        """
        raise NotImplementedError

    def rsample_some(self, number: int) -> SomeRotations:
        """Draw a rotation from each of some components, the weightiest among them.

        Gradients reach their places, widths and weights.
        """
        raise NotImplementedError

    def modes(self, number: int) -> Float[Tensor, "batch identity mode 3 3"]:
        """Return the rotations of highest peak density, best first."""
        raise NotImplementedError

    def with_fixed_weights(self) -> "RotationDensity":
        """Return the density with weights that carry no gradient."""
        raise NotImplementedError


class RotationHead(nn.Module):
    """Reads a network's output as a density of rotation.

    Attributes:
        size: numbers that it reads for each identity.
        num_modes: how many of the density's modes are worth a search's start.
    """

    size: int
    num_modes: int

    def density(
        self, raw: Float[Tensor, "batch identity output"], sight: Float[Tensor, "batch 3 3"]
    ) -> RotationDensity:
        """Return q(rotation), counted in the axes of the line of sight (``sight_frames``)."""
        raise NotImplementedError


class UprightDensity(RotationDensity):
    """q(rotation) of objects that turn about z alone; its measure is the yaw's (radians).

    Args:
        yaw: density of the yaw [B, M].
    """

    def __init__(self, yaw: YawMixture):
        self.yaw = yaw

    def log_prob(
        self, rotation: Float[Tensor, "batch identity 3 3"]
    ) -> Float[Tensor, "batch identity"]:
        """Return the log-density of the rotations' yaws; whether they tilt is not looked at."""
        return self.yaw.log_prob(_yaw_of(rotation))

    def teach(
        self, rotation: Float[Tensor, "batch 3 3"], identity: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """Return the log-density of a true yaw of a true identity each (``YawMixture.teach``)."""
        row = torch.arange(len(identity), device=identity.device)
        return self.yaw[row, identity].teach(_yaw_of(rotation))

    def rsample(self) -> Float[Tensor, "batch identity 3 3"]:
        """Draw a rotation; gradients as :meth:`YawMixture.rsample` says."""
        return yaw_rotation(self.yaw.rsample())

    def rsample_some(self, number: int) -> SomeRotations:
        """Draw rotations; see :meth:`YawMixture.rsample_some`."""
        some = self.yaw.rsample_some(number)
        return SomeRotations(yaw_rotation(some.yaw), some.log_weight, some.log_prob)

    def modes(self, number: int) -> Float[Tensor, "batch identity mode 3 3"]:
        """Return the rotations of highest peak density, best first."""
        return yaw_rotation(self.yaw.modes(number))

    def with_fixed_weights(self) -> "UprightDensity":
        """Return the density with weights that carry no gradient."""
        return UprightDensity(self.yaw.with_fixed_weights())


def _yaw_of(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    return torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])


class UprightHead(RotationHead):
    """Yaws in a mixture on fixed bins, counted from the azimuth of the line of sight.

    Args:
        meshes: M of them; their ``yaw_symmetry`` counts.
        bins: components of each mixture.
    """

    order: Tensor
    num_modes = 4

    def __init__(self, meshes: tuple[Mesh, ...], bins: int):
        super().__init__()
        self.bins = bins
        self.size = 3 * bins
        order: Int[Tensor, " identity"] = symmetry_orders([mesh.yaw_symmetry for mesh in meshes])
        self.register_buffer("order", order, persistent=False)

    def density(
        self, raw: Float[Tensor, "batch identity output"], sight: Float[Tensor, "batch 3 3"]
    ) -> UprightDensity:
        """Return q(rotation); only the azimuth of ``sight``'s forward axis counts."""
        shape = raw.shape[:2]
        azimuth = sight_azimuths(sight)
        mixture = YawMixture.from_raw(
            raw.unflatten(-1, (self.bins, 3)),
            azimuth[:, None].expand(shape),
            self.order.expand(shape),
        )
        return UprightDensity(mixture)
