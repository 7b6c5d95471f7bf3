"""What images may show, and how well that explains them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from air3d.inference.settling import log_likelihood
from air3d.models import Air
from air3d.models.latents import PoseLatents
from air3d.models.unrolled import Unrolled
from air3d.objectives import count_log_prob, draw_identities
from air3d.scene import ABSENT, Scenes, concatenate

_OF_OBJECTS = ("cost", "identity_probability", "pixel_covariance", "rotation_modes")


@dataclass(frozen=True)
class Explanations:
    """A scene for each of B images, and what the guide said of each of its N objects.

    Attributes:
        scenes: what the images may show; without gradients.
        cost: log q - log p of what is continuous in each object (nats), by which more objects
            must raise log p(x | z) [B, N].
        identity_probability: q(identity) of each object's [B, N].
        pixel_covariance: of q(place) in the image, square pixels [B, N, 2, 2].
        rotation_modes: probable ones of each object, given its identity [B, N, K, 3, 3].
    """

    scenes: Scenes
    cost: Float[Tensor, "batch object"]
    identity_probability: Float[Tensor, "batch object"]
    pixel_covariance: Float[Tensor, "batch object 2 2"]
    rotation_modes: Float[Tensor, "batch object mode 3 3"]

    def __len__(self) -> int:
        return len(self.cost)

    def __getitem__(self, rows: slice | Shaped[Tensor, " row"]) -> "Explanations":
        """Return those of some of the images."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Explanations(*(value[rows] for value in fields))

    def at(self, scenes: Scenes) -> "Explanations":
        """Return the same objects, moved."""
        return dataclasses.replace(self, scenes=scenes)

    def pick(self, order: Int[Tensor, "batch slot"]) -> "Explanations":
        """Keep some of the objects, by their numbers; ``ABSENT`` (-1) for none."""
        row = torch.arange(len(self), device=order.device)[:, None]
        fields = {name: getattr(self, name)[row, order.clamp(min=0)] for name in _OF_OBJECTS}
        return Explanations(self.scenes.pick(order), **fields)

    def beside(self, others: "Explanations") -> "Explanations":
        """Put the objects of ``others`` after one's own."""
        fields = {
            name: torch.cat([getattr(self, name), getattr(others, name)], dim=1)
            for name in _OF_OBJECTS
        }
        return Explanations(self.scenes.beside(others.scenes), **fields)


def join(several: Sequence[Explanations]) -> Explanations:
    """Put explanations, of the same number of objects, into one batch."""
    fields = {name: torch.cat([getattr(some, name) for some in several]) for name in _OF_OBJECTS}
    return Explanations(concatenate([some.scenes for some in several]), **fields)


def choose_likelier(
    wins: Bool[Tensor, " batch"], one: Explanations, other: Explanations
) -> Explanations:
    """Return for each image ``one`` where it ``wins``, else ``other``."""
    row = torch.arange(len(wins), device=wins.device)
    return join([one, other])[torch.where(wins, row, row + len(wins))]


def mode_of(unrolled: Unrolled[PoseLatents]) -> Explanations:
    """Take the most probable count, and each object's most probable identity."""
    count = count_log_prob(unrolled.presence_logits).argmax(dim=1)
    return _explanations(unrolled, count, unrolled.latents.identity_log_prob.argmax(dim=-1))


def draw_of(unrolled: Unrolled[PoseLatents]) -> Explanations:
    """Draw a count, and each object's identity, by torch's global random state."""
    count = count_log_prob(unrolled.presence_logits).exp().multinomial(1)[:, 0]
    return _explanations(unrolled, count, draw_identities(unrolled.latents.identity_log_prob))


def _explanations(
    unrolled: Unrolled[PoseLatents],
    count: Int[Tensor, " batch"],
    identity: Int[Tensor, "batch step"],
) -> Explanations:
    latents, seen = unrolled.latents, unrolled.seen
    assert seen is not None, "meshes are seen by a camera"

    def chosen(values: Tensor) -> Tensor:
        """Pick each object's identity out of [B, N, M, ...]."""
        index = identity.reshape(*identity.shape, *[1] * (values.ndim - 2))
        return values.gather(2, index.expand(-1, -1, 1, *values.shape[3:]))[:, :, 0]

    step = torch.arange(identity.shape[1], device=identity.device)
    scenes = Scenes(
        identity=identity.masked_fill(step >= count[:, None], ABSENT),
        position=chosen(latents.position),
        rotation=chosen(latents.rotation),
        scale=chosen(latents.scale),
        colour=chosen(latents.colour),
        camera=seen.view.camera,
        light=seen.view.light,
    )
    return Explanations(
        scenes,
        cost=chosen(latents.kl),
        identity_probability=chosen(latents.identity_log_prob).exp(),
        pixel_covariance=chosen(latents.pixel_covariance),
        rotation_modes=chosen(latents.rotation_modes),
    )


@torch.no_grad()
def score(
    model: Air, images: Float[Tensor, "batch 3 height width"], explained: Explanations
) -> Float[Tensor, " batch"]:
    """Return log p(x | z) + log p(what is discrete) - the objects' cost.

    This is the ELBO given the discrete choices, at one draw of the continuous ones: so
    explanations with different objects can be compared. The cost of the view, which an image's
    explanations share, is left out.
    """
    prior, scenes = model.pose_head.prior, explained.scenes
    pairs = prior.log_prob_pairs(scenes, scenes).triu(diagonal=1).sum(dim=(1, 2))
    cost = explained.cost.masked_fill(scenes.identity == ABSENT, 0.0).sum(dim=1)
    discrete = prior.log_prob_kinds(scenes) + pairs
    return log_likelihood(model.scene_decoder, images, scenes) + discrete - cost
