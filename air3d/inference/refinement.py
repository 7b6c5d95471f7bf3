"""Refine scenes through the renderer: pull them in from afar, then settle them."""

import dataclasses
import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.inference.moves import Moves
from air3d.inference.settling import log_likelihood, settle
from air3d.inference.watching import Stage, Watch, unwatched
from air3d.models.decoders import SceneDecoder, gaussian_log_likelihood
from air3d.models.pull_in import Sharpness, coarsen, sharpness_at
from air3d.scene import Scenes, choose

LAST_PACE = 1 / 15
"""Of the first: by the default, thirty steps can cover two diameters, and settling copes with the
last."""

# A surrogate that changes from step to step makes old gradients stale: Adam's memory is short.
BETAS = (0.6, 0.8)

# Steps of settling before the likeliest of an object's equal turns can be told.
STEPS_BEFORE_TURNS = 3


def refine(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes, steps: int, watch: Watch = unwatched
) -> Scenes:
    """Climb log p(x | z) in all that :class:`~air3d.inference.moves.Moves` moves.

    The first ``pull_in.fraction`` of the steps follow the gradient of a surrogate with a wider
    basin (soft rendering, coarse images; see :mod:`air3d.models.pull_in`). The rest settle on a
    peak of log p(x | z) itself, from the likelier of the given scene and the one pulled in. So no
    image's log-likelihood ever falls.

    Args:
        decoder: renders and scores; its scene file says how to pull in.
        images: [batch, 3, height, width]; no gradients reach them.
        scenes: where to start, one per image; no gradients reach them.
        steps: of both kinds together.
        watch: is told the scenes after each step of pulling in, and when they have settled.
    """
    num_pulls = int(steps * decoder.spec.pull_in.fraction)
    pulled = pull_in(decoder, images, scenes, num_pulls, watch)
    scenes = _likeliest(decoder, images, (scenes, pulled))
    before = min(STEPS_BEFORE_TURNS, steps - num_pulls)
    scenes = settle(decoder, images, scenes, before)
    scenes = _turn_likeliest(decoder, images, scenes)
    scenes = settle(decoder, images, scenes, steps - num_pulls - before)
    watch(Stage("settled", scenes))
    return scenes


@torch.enable_grad()  # also where the caller has switched gradients off
def pull_in(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes, steps: int, watch: Watch
) -> Scenes:
    """Climb by ``steps`` steps of Adam, looking ever more sharply; return the last place."""
    moves = Moves(decoder, scenes)
    move = moves.zero().requires_grad_()
    optimiser = torch.optim.Adam([move], betas=BETAS)
    fraction = decoder.spec.pull_in.fraction
    for step in range(steps):
        sharpness = sharpness_at(decoder.spec, fraction * step / steps)
        score = coarse_log_likelihood(decoder, images, moves.at(move), sharpness)
        optimiser.param_groups[0]["lr"] = _pace(decoder.spec.pull_in.pace, step / steps)
        optimiser.zero_grad()
        (-score.sum()).backward()
        optimiser.step()
        watch(Stage("pulled in", moves.at(move.detach())))
    return moves.at(move.detach())


def _pace(first: float, progress: float) -> float:
    """Return how far Adam goes in a step (see ``Moves``); it falls along half a cosine."""
    return first * (LAST_PACE + (1 - LAST_PACE) * 0.5 * (1 + math.cos(math.pi * progress)))


def coarse_log_likelihood(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes, sharpness: Sharpness
) -> Float[Tensor, " batch"]:
    """Score scenes by what is left of the images at some sharpness.

    It is the log-density of the coarse images under noise that averages out as if the pixels that
    one of theirs stands for were as many independent ones. So an error that is the same at every
    pixel costs the same at every level, and sharp rendering at level 0 gives log p(x | scene).
    Gradients reach all of the scenes but the identities.
    """
    level = sharpness.level
    means = coarsen(decoder.image(scenes, sharpness.softness), level)
    std = decoder.noise_std / 2**level
    return gaussian_log_likelihood(coarsen(images, level), means[:, None], std)[:, 0]


def _turn_likeliest(decoder: SceneDecoder, images: Tensor, scenes: Scenes) -> Scenes:
    """Turn each object in turn to the likeliest of the rotations that look much the same.

    Flat faces are not quite as symmetric as what they stand for (a cube's squares are each cut
    along a diagonal), and settling with the wrong ones of them would pay for it in position.
    """
    groups = [mesh.group.turns for mesh in decoder.bank.meshes]
    most = max(len(turns) for turns in groups)
    # An object of a smaller group than others meets some of its turns again, none beyond.
    turns = torch.stack([turns[torch.arange(most) % len(turns)] for turns in groups])
    # An absent object's identity (-1) finds the last entry: its turn changes nothing.
    turns = turns.to(scenes.rotation)[scenes.identity]
    for slot in range(turns.shape[1]):
        others = (_turned(scenes, slot, turns[:, slot, number]) for number in range(most))
        scenes = _likeliest(decoder, images, others)
    return scenes


def _turned(scenes: Scenes, slot: int, turn: Float[Tensor, "batch 3 3"]) -> Scenes:
    rotation = scenes.rotation.clone()
    rotation[:, slot] = rotation[:, slot] @ turn
    return dataclasses.replace(scenes, rotation=rotation)


@torch.no_grad()
def _likeliest(decoder: SceneDecoder, images: Tensor, several: Iterable[Scenes]) -> Scenes:
    """Choose for each image among several scenes; the first of equals."""
    first, *others = several
    best, score = first, log_likelihood(decoder, images, first)
    for scenes in others:
        other = log_likelihood(decoder, images, scenes)
        best, score = choose(other > score, scenes, best), torch.maximum(score, other)
    return best
