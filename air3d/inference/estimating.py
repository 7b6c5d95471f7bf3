"""Put what was found of images, and how sure that is, into estimates."""

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
    """Return the estimates that say that images show these scenes, which look like this."""
    score = gaussian_log_likelihood(images, reconstruction[:, None], decoder.noise_std)[:, 0]
    poses = scenes.object_to_world
    return [
        SceneEstimate(
            count=count,
            count_probability=tuple(certainty.count_probability[row].tolist()),
            objects=tuple(
                ObjectEstimate(
                    name=decoder.bank.meshes[identity].name,
                    identity=identity,
                    identity_probability=float(certainty.identity_probability[row, index]),
                    presence_probability=float(certainty.presence_probability[row, index]),
                    object_to_world=poses[row, index],
                    scale=float(scenes.scale[row, index]),
                    colour=scenes.colour[row, index],
                    position_covariance=certainty.position_covariance[row, index],
                )
                for index, identity in enumerate(scenes.identity[row, :count].tolist())
            ),
            camera=scenes.camera[row : row + 1],
            light=scenes.light[row : row + 1],
            reconstruction=reconstruction[row],
            log_likelihood=float(score[row]),
        )
        for row, count in enumerate(scenes.count.tolist())
    ]
