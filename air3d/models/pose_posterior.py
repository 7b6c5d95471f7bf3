"""What the guide says of one object's pose, and the true objects that it is taught."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Categorical, MultivariateNormal, Normal

from air3d.models.attention import Windows
from air3d.models.rotations import RotationDensity
from air3d.models.tempering import temper_gradient
from air3d.scene import Scenes


@dataclass(frozen=True)
class TrueObjects:
    """One object of each of R images, as the sleep phase knows it.

    Attributes:
        identity: [R].
        position: world, metres [R, 3].
        rotation: from the object's axes to the world's [R, 3, 3].
        scale: factor of the mesh's size [R].
        colour: multiplies the mesh's own [R, 3].
    """

    identity: Int[Tensor, " row"]
    position: Float[Tensor, "row 3"]
    rotation: Float[Tensor, "row 3 3"]
    scale: Float[Tensor, " row"]
    colour: Float[Tensor, "row 3"]

    @classmethod
    def of(
        cls, scenes: Scenes, row: Int[Tensor, " row"], step: Int[Tensor, " row"]
    ) -> "TrueObjects":
        """Take object ``step`` of scene ``row``, R times."""
        names = (field.name for field in dataclasses.fields(cls))
        return cls(*(getattr(scenes, name)[row, step] for name in names))


@dataclass(frozen=True)
class TaughtObjects:
    """Log-densities of true objects [R]; see ``TaughtSteps``."""

    identity_log_prob: Float[Tensor, " row"]
    location_log_prob: Float[Tensor, " row"]
    rotation_log_prob: Float[Tensor, " row"]
    appearance_log_prob: Float[Tensor, " row"]
    attention_log_prob: Float[Tensor, " row"]

    @classmethod
    def nothing(cls, device: torch.device) -> "TaughtObjects":
        """Return the log-densities of no objects: torch's distributions take no empty batches."""
        return cls(*torch.zeros(5, 0, device=device))


@dataclass(frozen=True)
class Aim:
    """What a first glimpse takes for an object, by which the second glimpse is read.

    Attributes:
        windows: where the first glimpse was read.
        features: what it shows.
        identity: what the object may be.
        place: where it may be, a normal density in the windows' coordinates [B, 2].
    """

    windows: Windows
    features: Float[Tensor, "batch feature"]
    identity: Categorical
    place: MultivariateNormal

    @property
    def centre(self) -> Float[Tensor, "batch 2"]:
        """Where the object most probably is, normalised pixels within the image."""
        return (self.windows.centre + self.place.mean * self.windows.half_side).clamp(-1, 1)

    def teach(
        self, identity: Int[Tensor, "*batch"], centre: Float[Tensor, "batch 2"]
    ) -> Float[Tensor, " batch"]:
        """Return the log-density of what stands where (normalised pixels), gradients tempered."""
        place = self.place.log_prob((centre - self.windows.centre) / self.windows.half_side)
        std = self.place.scale_tril.diagonal(dim1=-2, dim2=-1)
        return self.identity.log_prob(identity) + temper_gradient(place, std)


@dataclass(frozen=True)
class PosePosterior:
    """q(identity, place, rotation, appearance | x, view) of one object, for each of M identities.

    Attributes:
        windows: where the second glimpse was read.
        identity: q(k | x).
        place: normal density in the window's coordinates [B, M, 2].
        rotation: density of the rotation [B, M].
        appearance: normal densities of the scale and the colour that the scene file leaves open,
            whose range of the prior is [-1, 1] [B, M, A].
    """

    windows: Windows
    identity: Categorical
    place: MultivariateNormal
    rotation: RotationDensity
    appearance: Normal
