"""The one verb: images to scene estimates, with as much effort as is asked for."""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import PatchEstimate, SceneEstimate
from air3d.inference.effort import ONE_PASS, Effort
from air3d.inference.estimating import Certainty, scene_estimates
from air3d.inference.explanations import (
    Explanations,
    choose_likelier,
    draw_of,
    mode_of,
    score,
)
from air3d.inference.refinement import refine
from air3d.inference.rescoring import rescore
from air3d.inference.spread import spread_at_peak, spread_of_guide
from air3d.inference.turning import try_lights, try_rotations
from air3d.inference.watching import Stage, Watch, unwatched
from air3d.models import Air
from air3d.models.decoders import GlimpseDecoder, gaussian_log_likelihood
from air3d.models.latents import PatchLatents, windows_of
from air3d.models.unrolled import Unrolled
from air3d.objectives import count_log_prob
from air3d.threads import on_threads

WORTH_A_THREAD = 64
"""Images that a thread of its own is worth while for."""


def infer(
    model: Air,
    images: Float[Tensor, "batch channel height width"],
    effort: Effort = ONE_PASS,
    watch: Watch = unwatched,
) -> list[SceneEstimate]:
    """Return the posterior mode of each image.

    Args:
        model: a trained model.
        images: values in [0, 1], of the model's image size and number of channels.
        effort: what is done beyond one pass of the guide (3D only). ``samples`` and the scenes of
            ``rounds`` are drawn by torch's global random state. Before refinement the light's
            azimuths and each object's most probable rotations are tried and the likeliest kept.
        watch: is told every stage of the search, from "one pass" to what is returned; it changes
            nothing. Without effort there is no search to watch.

    Raises:
        ValueError: the images do not fit the model, a 2D model is asked for any effort, or there
            is somebody to ``watch`` and no effort.
    """
    _check(model, images, effort)
    images = images.contiguous(memory_format=torch.channels_last)  # once, as all want them
    if effort:
        return _with_effort(model, images, effort, watch)
    if watch is not unwatched:
        raise ValueError(
            "watch: one pass has no stages; leave watch out, or search: Effort(refine_steps=40)"
        )
    parts = images.chunk(max(1, min(torch.get_num_threads(), len(images) // WORTH_A_THREAD)))
    each = on_threads(functools.partial(_in_one_pass, model), parts)
    return [estimate for some in each for estimate in some]


@torch.no_grad()
def _in_one_pass(model: Air, images: Tensor) -> list[SceneEstimate]:
    """Return what the guide most probably sees."""
    unrolled = model.mode(images)
    if isinstance(model.decoder, GlimpseDecoder):
        return _patch_estimates(model.decoder, images, unrolled)
    assert unrolled.canvas is not None, "scenes are painted"
    explained = mode_of(unrolled)
    shown = unrolled.canvas.shown_with(explained.scenes.count)
    spread = _spread_of_guide(model, unrolled, explained)
    certainty = _certainty(unrolled.presence_logits, explained, spread)
    return scene_estimates(model.scene_decoder, images, explained.scenes, certainty, shown)


def _with_effort(model: Air, images: Tensor, effort: Effort, watch: Watch) -> list[SceneEstimate]:
    """Return what is likeliest of all that is found by searching on from there.

    How sure the count is says the guide when it is told the objects that were found: a search may
    leave, or bring back, what the guide by itself has passed over.
    """
    with torch.no_grad():
        unrolled = model.mode(images)
    explained = search(model, images, mode_of(unrolled), effort, watch)
    explained = explained.pick(explained.scenes.order_from_near())
    presence_logits = model.presence_given(images, explained.scenes)
    with torch.no_grad():
        shown = model.scene_decoder.image(explained.scenes)
    spread = (
        spread_at_peak(model.scene_decoder, explained.scenes)
        if effort.refine_steps or effort.rounds
        else _spread_of_guide(model, unrolled, explained)
    )
    certainty = _certainty(presence_logits, explained, spread)
    return scene_estimates(model.scene_decoder, images, explained.scenes, certainty, shown)


def search(
    model: Air, images: Tensor, explained: Explanations, effort: Effort, watch: Watch
) -> Explanations:
    """Look for likelier explanations of images than those at hand, the guide's in one pass."""
    decoder = model.scene_decoder
    watch(Stage("one pass", explained.scenes))
    if effort.samples:
        explained = best_of_draws(model, images, explained, effort.samples)
        watch(Stage(f"best of {effort.samples + 1} draws", explained.scenes))
    if effort.refine_steps:
        lit = explained.at(try_lights(decoder, images, explained.scenes))
        watch(Stage("light turned", lit.scenes))
        scenes = try_rotations(decoder, images, lit)
        watch(Stage("objects turned", scenes))
        explained = explained.at(refine(decoder, images, scenes, effort.refine_steps, watch))
    if effort.rounds:
        explained = rescore(model, images, explained, effort.rounds, watch)
    return explained


@torch.no_grad()
def best_of_draws(model: Air, images: Tensor, explained: Explanations, number: int) -> Explanations:
    """Draw further explanations from the guide and keep the likeliest of each image's."""
    best = score(model, images, explained)
    for _ in range(number):
        drawn = draw_of(model.guide.sample(images))
        scores = score(model, images, drawn)
        explained = choose_likelier(scores > best, drawn, explained)
        best = torch.maximum(best, scores)
    return explained


def _certainty(
    presence_logits: Float[Tensor, "batch step"], explained: Explanations, spread: Tensor
) -> Certainty:
    """Return what the guide said of how sure it is, of the explanation that was settled on."""
    return Certainty(
        count_probability=count_log_prob(presence_logits).exp(),
        presence_probability=presence_logits.sigmoid().cumprod(dim=1),
        identity_probability=explained.identity_probability,
        position_covariance=spread,
    )


def _spread_of_guide(model: Air, unrolled: Unrolled, explained: Explanations) -> Tensor:
    assert unrolled.seen is not None, "meshes are seen by a camera"
    return spread_of_guide(model.pose_head.prior.view, explained, unrolled.seen.std)


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


def _check(model: Air, images: Tensor, effort: Effort) -> None:
    wanted = (model.spec.num_channels, *model.spec.image_size)
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ValueError(
            f"images must be [batch, {', '.join(map(str, wanted))}] for a model of "
            f"'{model.spec.name}', got {list(images.shape)}; resize them first"
        )
    if not images.is_floating_point():
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype}")
    if effort and isinstance(model.decoder, GlimpseDecoder):
        raise ValueError(
            f"a 2D model ('{model.spec.name}') has no renderer to search with; leave out "
            "--refine-steps, --rounds and --samples"
        )
