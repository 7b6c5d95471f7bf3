"""Put what was found of images, and how sure that is, into estimates."""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.models.decoders import SceneDecoder, gaussian_log_likelihood
from air3d.scene import ABSENT, Scenes


@dataclass(frozen=True)
class Certainty:
    """How sure it is what B scenes of N objects hold.

    Attributes:
        count_probability: of n = 0, 1, ..., N objects [B, N + 1].
        presence_probability: that there are at least so many objects, of each one [B, N].
        identity_probability: of each object's identity [B, N].
        position_covariance: of each object's x and y, square metres [B, N, 2, 2].
    """

    count_probability: Float[Tensor, "batch count"]
    presence_probability: Float[Tensor, "batch object"]
    identity_probability: Float[Tensor, "batch object"]
    position_covariance: Float[Tensor, "batch object 2 2"]


def sure_of(scenes: Scenes) -> Certainty:
    """Give what scenes hold the probability 1, and its places no spread."""
    there = (scenes.identity != ABSENT).to(scenes.scale)
    counts = nn.functional.one_hot(scenes.count, scenes.identity.shape[1] + 1)
    return Certainty(
        count_probability=counts.to(there),
        presence_probability=there,
        identity_probability=there,
        position_covariance=there.new_zeros(*there.shape, 2, 2),
    )


@torch.no_grad()
def scene_estimates(
    decoder: SceneDecoder,
    images: Float[Tensor, "batch 3 height width"],
    scenes: Scenes,
    certainty: Certainty,
    reconstruction: Float[Tensor, "batch 3 height width"],
) -> list[SceneEstimate]:
    """Return the estimates that say that images show these scenes, which look like this.

    Numbers leave torch all at once: one by one, they take a tenth of the time of one pass.
    """
    score = gaussian_log_likelihood(images, reconstruction[:, None], decoder.noise_std)[:, 0]
    objects = _object_estimates(decoder, scenes, certainty)
    return [
        SceneEstimate(
            count=len(found),
            count_probability=tuple(count_probability),
            objects=found,
            camera=scenes.camera[row : row + 1],
            light=scenes.light[row : row + 1],
            reconstruction=shown,
            log_likelihood=log_likelihood,
        )
        for row, (found, count_probability, shown, log_likelihood) in enumerate(
            zip(
                objects,
                certainty.count_probability.tolist(),
                reconstruction.unbind(),
                score.tolist(),
                strict=True,
            )
        )
    ]


def _object_estimates(
    decoder: SceneDecoder, scenes: Scenes, certainty: Certainty
) -> list[tuple[ObjectEstimate, ...]]:
    """Return each scene's objects, without those that are absent."""
    there = scenes.identity != ABSENT
    names = [mesh.name for mesh in decoder.bank.meshes]
    every = [
        ObjectEstimate(names[identity], identity, *rest)
        for identity, *rest in zip(
            scenes.identity[there].tolist(),
            certainty.identity_probability[there].tolist(),
            certainty.presence_probability[there].tolist(),
            scenes.object_to_world[there].unbind(),
            scenes.scale[there].tolist(),
            scenes.colour[there].unbind(),
            certainty.position_covariance[there].unbind(),
            strict=True,
        )
    ]
    in_turn = iter(every)
    return [tuple(itertools.islice(in_turn, count)) for count in scenes.count.tolist()]
