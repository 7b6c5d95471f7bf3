"""What the guide takes for an object at a place where it is told to look."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import project
from air3d.inference.explanations import Explanations
from air3d.models import Air
from air3d.models.encoder import Encoded
from air3d.models.guide import Observation
from air3d.models.latents import PoseLatents
from air3d.models.poses import PoseHead
from air3d.scene import ABSENT, Scenes, View

ROTATIONS = 2
"""Modes of the rotation that are proposed for each identity."""

LOOKS = 3
"""Times that the guide looks, each time at where it took the object to be the last time: it has
learned to look at objects' middles, and is told to look somewhere on them."""


@torch.no_grad()
def propose(
    model: Air,
    images: Float[Tensor, "batch 3 height width"],
    encoded: Encoded,
    scenes: Scenes,
    centre: Float[Tensor, "batch 2"],
) -> Explanations:
    """Look at a place of each image and return every identity's likeliest object there.

    Args:
        model: a 3D model.
        images: to look at.
        encoded: the same by the guide's encoder.
        scenes: the objects that are known beside the one to be proposed, and the view.
        centre: where to look first, normalised pixels.

    Returns:
        For each image M * ``ROTATIONS`` objects, identity by identity, none of them settled on.
    """
    guide, head, viewer = model.guide, model.pose_head, model.guide.viewer
    assert viewer is not None, "a head of poses has a view"
    told = viewer.told(View(scenes.camera, scenes.light))
    scenes = scenes.near_to_far()
    states = guide.states(encoded.features, head.memories(scenes))
    observation = Observation(images, told)
    row = torch.arange(len(images), device=images.device)

    def look(centre: Tensor) -> PoseLatents:
        before = _number_nearer(scenes, head, centre).clamp(max=guide.max_steps - 1)
        return head.look_at(observation, centre, states[row, before])

    for _ in range(LOOKS - 1):
        centre = look(centre).found.clamp(-1, 1)
    latents = look(centre)

    def repeated(values: Tensor) -> Tensor:
        return values.repeat_interleave(ROTATIONS, dim=1)

    identity = torch.arange(len(model.meshes), device=images.device).expand(len(images), -1)
    return Explanations(
        Scenes(
            identity=repeated(identity),
            position=repeated(latents.position),
            rotation=latents.rotation_modes[:, :, :ROTATIONS].flatten(1, 2),
            scale=repeated(latents.scale),
            colour=repeated(latents.colour),
            camera=scenes.camera,
            light=scenes.light,
        ),
        cost=repeated(latents.kl),
        identity_probability=repeated(latents.identity_log_prob.exp()),
        pixel_covariance=repeated(latents.pixel_covariance),
        rotation_modes=repeated(latents.rotation_modes),
    )


def _number_nearer(
    scenes: Scenes, head: PoseHead, centre: Float[Tensor, "batch 2"]
) -> Int[Tensor, " batch"]:
    """Return how many objects are nearer than the place on the plane that is seen at ``centre``."""
    depth = project(scenes.camera, scenes.position).depth
    nearer = depth < head.depth_at(centre, scenes.camera)[:, None]
    return (nearer & (scenes.identity != ABSENT)).sum(dim=1)
