"""From images to scene estimates: one pass of the guide, then refinement through the renderer."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import ObjectEstimate, PatchEstimate, SceneEstimate
from air3d.geometry import yaw_rotation
from air3d.models import Air
from air3d.models.decoders import GlimpseDecoder, SceneDecoder, gaussian_log_likelihood
from air3d.models.guide import Unrolled
from air3d.models.latents import PatchLatents, PoseLatents, windows_of
from air3d.models.poses import standard_deviations_on_plane
from air3d.objectives import count_log_prob
from air3d.refinement import refine
from air3d.scene import ABSENT, Scenes
from air3d.settling import log_likelihood


def infer(
    model: Air, images: Float[Tensor, "batch channel height width"], *, refine_steps: int = 0
) -> list[SceneEstimate]:
    """Return the posterior mode of each image.

    Args:
        model: a trained model.
        images: values in [0, 1], of the model's image size and number of channels.
        refine_steps: gradient steps on position and yaw through the renderer (3D only); before
            them, each object's most probable yaws are tried and the likeliest kept.

    Raises:
        ValueError: the images do not fit the model, or a 2D model is asked to refine.
    """
    _check(model, images, refine_steps)
    with torch.no_grad():
        unrolled = model.mode(images)
    decoder = model.decoder
    if isinstance(decoder, GlimpseDecoder):
        return _patch_estimates(decoder, images, unrolled)
    assert isinstance(decoder, SceneDecoder)
    mode = _scene_mode(unrolled)
    if refine_steps:
        scenes = refine(decoder, images, try_yaws(decoder, images, mode), refine_steps)
        mode = dataclasses.replace(mode, scenes=scenes)
    return _scene_estimates(decoder, images, unrolled, mode)


@dataclass(frozen=True)
class SceneMode:
    """The guide's mode as scenes, with what is needed to search around it.

    Attributes:
        scenes: the mode; objects beyond the most probable count are absent.
        yaw_modes: further yaws of each object's most probable identity [B, N, K].
        identity_probability: of that identity [B, N].
        pixel_covariance: of its place in the image [B, N, 2, 2].
    """

    scenes: Scenes
    yaw_modes: Float[Tensor, "batch object mode"]
    identity_probability: Float[Tensor, "batch object"]
    pixel_covariance: Float[Tensor, "batch object 2 2"]


def try_yaws(decoder: SceneDecoder, images: Tensor, mode: SceneMode) -> Scenes:
    """Turn each object in turn to the likeliest of its probable yaws; no gradients."""
    scenes = mode.scenes
    num_modes = mode.yaw_modes.shape[-1]
    for index in range(scenes.identity.shape[1]):
        turned = scenes.rotation[None].repeat(num_modes, 1, 1, 1, 1)
        turned[:, :, index] = yaw_rotation(mode.yaw_modes[:, index].movedim(-1, 0))
        with torch.no_grad():
            scores = [
                log_likelihood(decoder, images, dataclasses.replace(scenes, rotation=rotation))
                for rotation in turned
            ]
        best = torch.stack(scores).argmax(dim=0)
        scenes = dataclasses.replace(scenes, rotation=turned[best, torch.arange(len(best))])
    return scenes


def _scene_mode(unrolled: Unrolled[PoseLatents]) -> SceneMode:
    latents, seen = unrolled.latents, unrolled.seen
    assert seen is not None, "meshes are seen by a camera"
    count = count_log_prob(unrolled.presence_logits).argmax(dim=1)
    probability, identity = latents.identity_log_prob.exp().max(dim=-1)

    def chosen(values: Tensor) -> Tensor:
        """Pick each object's most probable identity out of [B, N, M, ...]."""
        index = identity.reshape(*identity.shape, *[1] * (values.ndim - 2))
        return values.gather(2, index.expand(-1, -1, 1, *values.shape[3:]))[:, :, 0]

    step = torch.arange(identity.shape[1], device=identity.device)
    scenes = Scenes(
        identity=identity.masked_fill(step >= count[:, None], ABSENT),
        position=chosen(latents.position),
        rotation=yaw_rotation(chosen(latents.yaw)),
        scale=chosen(latents.scale),
        colour=chosen(latents.colour),
        camera=seen.view.camera,
        light=seen.view.light,
    )
    yaws, covariance = chosen(latents.yaw_modes), chosen(latents.pixel_covariance)
    return SceneMode(scenes, yaws, probability, covariance)


def _scene_estimates(
    decoder: SceneDecoder, images: Tensor, unrolled: Unrolled[PoseLatents], mode: SceneMode
) -> list[SceneEstimate]:
    with torch.no_grad():
        reconstruction = decoder.image(mode.scenes)
        score = gaussian_log_likelihood(images, reconstruction[:, None], decoder.noise_std)[:, 0]
    count_probability = count_log_prob(unrolled.presence_logits).exp()
    presence = unrolled.presence_logits.sigmoid().cumprod(dim=1)
    poses = mode.scenes.object_to_world
    counts = mode.scenes.count.tolist()
    camera = mode.scenes.camera
    plane_std = standard_deviations_on_plane(camera, mode.scenes.position, mode.pixel_covariance)
    estimates = []
    for row, count in enumerate(counts):
        objects = tuple(
            ObjectEstimate(
                name=decoder.bank.meshes[identity].name,
                identity=identity,
                identity_probability=float(mode.identity_probability[row, index]),
                presence_probability=float(presence[row, index]),
                object_to_world=poses[row, index],
                scale=float(mode.scenes.scale[row, index]),
                colour=mode.scenes.colour[row, index],
                position_std=plane_std[row, index],
            )
            for index, identity in enumerate(mode.scenes.identity[row, :count].tolist())
        )
        estimates.append(
            SceneEstimate(
                count=count,
                count_probability=tuple(count_probability[row].tolist()),
                objects=objects,
                camera=camera[row : row + 1],
                light=mode.scenes.light[row : row + 1],
                reconstruction=reconstruction[row],
                log_likelihood=float(score[row]),
            )
        )
    return estimates


def _patch_estimates(
    decoder: GlimpseDecoder, images: Tensor, unrolled: Unrolled[PatchLatents]
) -> list[SceneEstimate]:
    with torch.no_grad():
        prefixes = decoder.prefixes(unrolled.latents)
        scores = gaussian_log_likelihood(images, prefixes, decoder.noise_std)
    count_probability = count_log_prob(unrolled.presence_logits).exp()
    presence = unrolled.presence_logits.sigmoid().cumprod(dim=1)
    boxes = _boxes(unrolled.latents.z_where, decoder.image_size)
    return [
        SceneEstimate(
            count=count,
            count_probability=tuple(count_probability[row].tolist()),
            objects=tuple(
                PatchEstimate(float(presence[row, i]), (u, v), side)
                for i, (u, v, side) in enumerate(boxes[row, :count].tolist())
            ),
            camera=None,
            light=None,
            reconstruction=prefixes[row, count].clamp(0.0, 1.0),
            log_likelihood=float(scores[row, count]),
        )
        for row, count in enumerate(count_probability.argmax(dim=1).tolist())
    ]


def _boxes(
    z_where: Float[Tensor, "batch step 3"], image_size: tuple[int, int]
) -> Float[Tensor, "batch step 3"]:
    """Return each window's centre (u, v) and side in pixels."""
    height, width = image_size
    windows = windows_of(z_where.flatten(0, 1), image_size)
    half_image = z_where.new_tensor([width / 2, height / 2])
    centre = (windows.centre + 1) * half_image
    side = 2 * windows.half_side[:, :1] * half_image[:1]
    return torch.cat([centre, side], dim=-1).unflatten(0, z_where.shape[:2])


def _check(model: Air, images: Tensor, refine_steps: int) -> None:
    wanted = (model.spec.num_channels, *model.spec.image_size)
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ValueError(
            f"images must be [batch, {', '.join(map(str, wanted))}] for a model of "
            f"'{model.spec.name}', got {list(images.shape)}; resize them first"
        )
    if not images.is_floating_point():
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype}")
    if refine_steps < 0:
        raise ValueError(f"refine_steps must be at least 0, got {refine_steps}")
    if refine_steps and isinstance(model.decoder, GlimpseDecoder):
        raise ValueError(
            f"a 2D model ('{model.spec.name}') has no renderer to refine with; refine_steps "
            "(--refine-steps) must be 0"
        )
