"""What the guide draws at each step, in 2D and in 3D, and how steps are stacked."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.models.attention import Windows


class Remembered(Protocol):
    """Latents of one step that can tell the next step what was found."""

    @property
    def memory(self) -> Tensor: ...


@dataclass(frozen=True)
class Latents:
    """One object, or all N of them: ``*step`` is empty for one step, [N] for all.

    Attributes:
        kl: of q from p for each of M identities: exact, or log q - log p at this draw.
        identity_log_prob: log q(identity).
    """

    kl: Float[Tensor, "batch *step identity"]
    identity_log_prob: Float[Tensor, "batch *step identity"]

    @property
    def memory(self) -> Float[Tensor, "batch memory"]:
        """What the next step is told of this one."""
        raise NotImplementedError


@dataclass(frozen=True)
class PatchLatents(Latents):
    """Latents of a patch on a canvas; it has no identity, so M is 1 and log q(identity) 0.

    Attributes:
        z_where: (log half side, x, y) of the window in normalised image coordinates.
        z_what: code of the patch's appearance, D numbers.
    """

    z_where: Float[Tensor, "batch *step 3"]
    z_what: Float[Tensor, "batch *step code"]

    @property
    def memory(self) -> Float[Tensor, "batch memory"]:
        """What the next step is told of this one."""
        return torch.cat([self.z_where, self.z_what], dim=-1)


@dataclass(frozen=True)
class PoseLatents(Latents):
    """Latents of an object on the plane, one hypothesis for each of M identities.

    Attributes:
        position: of the object's origin, world, metres.
        rotation: from the object's axes to the world's.
        rotation_modes: the most probable rotations, best first, to start a search from.
        scale: factor of the mesh's size.
        colour: multiplies the mesh's own.
        pixel_covariance: of q(place) in the image, square pixels.
        found: where the object is in the image, normalised pixels, averaged over identities.
    """

    position: Float[Tensor, "batch *step identity 3"]
    rotation: Float[Tensor, "batch *step identity 3 3"]
    rotation_modes: Float[Tensor, "batch *step identity mode 3 3"]
    scale: Float[Tensor, "batch *step identity"]
    colour: Float[Tensor, "batch *step identity 3"]
    pixel_covariance: Float[Tensor, "batch *step identity 2 2"]
    found: Float[Tensor, "batch *step 2"]

    @property
    def memory(self) -> Float[Tensor, "batch memory"]:
        """What the next step is told of this one."""
        return torch.cat([self.identity_log_prob.exp(), self.found], dim=-1)


def windows_of(z_where: Float[Tensor, "batch 3"], image_size: tuple[int, int]) -> Windows:
    """Return the square windows that z_where = (log half side, x, y) speaks of.

    The half side is in units of half the shorter image side.
    """
    height, width = image_size
    shorter = min(height, width)
    aspect = z_where.new_tensor([shorter / width, shorter / height])
    return Windows(centre=z_where[:, 1:], half_side=z_where[:, :1].exp() * aspect)


Step = TypeVar("Step")


def replace_rows(old: Step, row: Int[Tensor, " row"], new: Step) -> Step:
    """Put the latents of some of a step's images in the place of theirs, field by field."""
    kind = type(old)
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    replaced = {name: getattr(old, name).index_copy(0, row, getattr(new, name)) for name in fields}
    return kind(**replaced)


def stack_steps(steps: Sequence[Step]) -> Step:
    """Stack the latents of single steps along a new axis 1, field by field."""
    kind = type(steps[0])
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    stacked = {name: torch.stack([getattr(s, name) for s in steps], dim=1) for name in fields}
    return kind(**stacked)
