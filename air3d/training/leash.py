"""Poses and views held so that none is pulled too hard.

The likelihood of an image rises by tens of thousands of nats within a diameter, and a network whose
poses follow such gradients learns nothing else. Scaling all of a batch's gradients down together
would silence those whose poses fit; so each is cut by itself.
"""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.models import Air
from air3d.models.latents import PoseLatents
from air3d.models.unrolled import Unrolled

TINY = 1e-12


@dataclass(frozen=True)
class Leash:
    """Latents as the guide drew them, and copies of them that a decoder may look at.

    Attributes:
        held: as the guide drew them, with its gradients.
        unrolled: the same values, cut off from the guide.
        unit: length that counts as 1 for positions, metres.
        upright: objects turn about z alone.
    """

    held: Unrolled[PoseLatents]
    unrolled: Unrolled[PoseLatents]
    unit: float
    upright: bool

    @classmethod
    def on(cls, model: Air, held: Unrolled[PoseLatents]) -> "Leash":
        """Copy the latents that a model's guide drew."""
        latents, seen = held.latents, held.seen
        assert seen is not None, "meshes are seen by a camera"
        viewer = model.guide.viewer
        assert viewer is not None, "a head of poses has a view"
        copies = {name: _leaf(getattr(latents, name)) for name in _MOVED}
        coordinates = _leaf(seen.coordinates)
        seen = dataclasses.replace(
            seen, view=viewer.prior.view(coordinates), coordinates=coordinates
        )
        unrolled = dataclasses.replace(
            held, latents=dataclasses.replace(latents, **copies), seen=seen
        )
        unit = max(mesh.diameter for mesh in model.meshes)
        return cls(held, unrolled, unit, model.scene_decoder.spec.objects.rotation != "free")

    def pull(
        self, value: Float[Tensor, ""], share: Float[Tensor, "row step identity"], reach: float
    ) -> Float[Tensor, ""]:
        """Return what has the gradient of ``value``, cut off where it is too long.

        Gradients reach the latents as the guide drew them. Its own value means nothing.

        Args:
            value: of the copies.
            share: by which each candidate counts in ``value``, at most 1; its gradients may be as
                many times longer than ``reach``, and a view's as often as its row's largest.
            reach: length, per unit, radian, or factor of scale or colour.
        """
        held, copies = _pulled(self.held), _pulled(self.unrolled)
        gradients = torch.autograd.grad(value, copies, allow_unused=True, materialize_grads=True)
        limit = reach * share
        limits = [limit] * len(_MOVED) + [limit.flatten(1).amax(dim=1)]
        total = value.new_zeros(())
        for each, gradient, length, most in zip(
            held, gradients, self._lengths(gradients), limits, strict=True
        ):
            total = total + (each * _cut(gradient, length, most)).sum()
        return total

    def _lengths(self, gradients: tuple[Tensor, ...]) -> list[Tensor]:
        """Return how long gradients are: those of what does not move the object left out."""
        position, rotation, scale, colour, coordinates = gradients
        return [
            position[..., :2].norm(dim=-1) * self.unit,
            self._torque(self.unrolled.latents.rotation, rotation),
            scale.abs(),
            colour.norm(dim=-1),
            coordinates.norm(dim=-1),
        ]

    def _torque(
        self, rotation: Float[Tensor, "*batch 3 3"], gradient: Float[Tensor, "*batch 3 3"]
    ) -> Float[Tensor, "*batch"]:
        """Return the length of a gradient by a turn's vector (in the world's axes)."""
        around = gradient @ rotation.mT
        around = around - around.mT
        z = around[..., 1, 0]
        if self.upright:
            return z.abs()
        return (z.square() + around[..., 2, 0].square() + around[..., 2, 1].square()).sqrt()


_MOVED = ("position", "rotation", "scale", "colour")


def _pulled(unrolled: Unrolled[PoseLatents]) -> list[Tensor]:
    """Return the latents that move, in their order, and the view's coordinates."""
    assert unrolled.seen is not None, "meshes are seen by a camera"
    return [*(getattr(unrolled.latents, name) for name in _MOVED), unrolled.seen.coordinates]


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def _cut(
    gradient: Tensor, length: Float[Tensor, "*batch"], limit: Float[Tensor, "*batch"]
) -> Tensor:
    """Scale gradients down to ``limit`` where their ``length`` is more."""
    factor = (limit / length.clamp(min=TINY)).clamp(max=1.0)
    return gradient * factor.reshape(*factor.shape, *[1] * (gradient.dim() - factor.dim()))
