"""What the guide draws at each step, in 2D and in 3D, and how steps are stacked."""

import dataclasses
import math
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


@dataclass(frozen=True)
class TurnedLatents(PoseLatents):
    """Latents of an object in R rotations, drawn from as many components of their density.

    ``rotation`` and ``kl`` are those of one more draw, from the whole density.

    Attributes:
        turned: the rotations.
        turn_log_weight: of their components among these R; gradients reach it.
        turned_kl: log q - log p of each draw, by the component it comes from.
        attention_log_prob: log q of finding this place by the search, and of the first glimpse
            to take it for what it is; gradients reach those two and not the place.
    """

    turned: Float[Tensor, "batch *step identity turn 3 3"]
    turn_log_weight: Float[Tensor, "batch *step identity turn"]
    turned_kl: Float[Tensor, "batch *step identity turn"]
    attention_log_prob: Float[Tensor, "batch *step identity"]

    def as_identities(self) -> PoseLatents:
        """Return the same with every identity in every rotation as an identity of its own.

        They come identity by identity, and are equally probable a priori, as identities are.
        """
        turns = self.turn_log_weight.shape[-1]
        identity = self.identity_log_prob.dim() - 1

        def repeated(tensor: Tensor) -> Tensor:
            return tensor.repeat_interleave(turns, dim=identity)

        log_prob = self.identity_log_prob[..., None] + self.turn_log_weight
        return PoseLatents(
            position=repeated(self.position),
            rotation=self.turned.flatten(identity, identity + 1),
            rotation_modes=repeated(self.rotation_modes),
            scale=repeated(self.scale),
            colour=repeated(self.colour),
            pixel_covariance=repeated(self.pixel_covariance),
            kl=(self.turned_kl - math.log(turns)).flatten(identity),
            identity_log_prob=log_prob.flatten(identity),
            found=self.found,
        )


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
