"""Settle scenes where log p(x | z) is highest, to the precision that the noise leaves."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.models.decoders import SceneDecoder, gaussian_log_likelihood
from air3d.moves import Moves
from air3d.render.composite import composite, join
from air3d.scene import Scenes, choose

DIFFERENCE = 2e-4  # of a move; a pixel of a shifted edge changes by some 1e-3
DAMPING, LESS_DAMPING, MORE_DAMPING = 1e-2, 0.1, 10.0
LEAST_CURVATURE = 1e-4  # of the greatest of an image: holds what its pixels do not show


def log_likelihood(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes
) -> Float[Tensor, " batch"]:
    """Return log p(x | scene); gradients reach all of the scenes but the identities."""
    means = decoder.image(scenes)[:, None]
    return gaussian_log_likelihood(images, means, decoder.noise_std)[:, 0]


@torch.no_grad()
def settle(decoder: SceneDecoder, images: Tensor, scenes: Scenes, steps: int) -> Scenes:
    """Climb log p(x | z) in all that :class:`~air3d.moves.Moves` moves, from near its peak.

    Levenberg and Marquardt's method, image by image, with the renderer's derivatives by forward
    differences: a step costs one image, and about one more for each coordinate of an object and
    for each of the view's. A step that goes down is not taken. It converges within some ten steps
    from a few hundredths of a diameter away.

    Args:
        decoder: renders and scores.
        images: [batch, 3, height, width]; no gradients reach them.
        scenes: where to start, one per image; no gradients reach them.
        steps: how many.
    """
    if Moves(decoder, scenes).size == 0 or len(images) == 0:
        return scenes
    damping = images.new_full((len(images),), DAMPING)
    state = _State(scenes, decoder.image(scenes), damping)
    for _ in range(steps):
        state = _step(decoder, images, state)
    return state.scenes


@dataclass(frozen=True)
class _State:
    """Where each image's search is, what that looks like, and how carefully it goes on."""

    scenes: Scenes
    means: Float[Tensor, "batch 3 height width"]
    damping: Float[Tensor, " batch"]


def _step(decoder: SceneDecoder, images: Tensor, state: _State) -> _State:
    """Solve for a move, and take it where it lessens the squared error."""
    moves = Moves(decoder, state.scenes)
    slopes = _slopes(decoder, moves, state.means)
    residual = (images - state.means).flatten(1)
    scenes = moves.at(_damped_least_squares(slopes, residual, state.damping))
    means = decoder.image(scenes)
    before, after = ((m - images).square().flatten(1).sum(dim=1) for m in (state.means, means))
    wins = after < before
    factor = torch.where(wins, LESS_DAMPING, MORE_DAMPING)
    return _State(
        choose(wins, scenes, state.scenes),
        torch.where(wins[:, None, None, None], means, state.means),
        (state.damping * factor).clamp(1e-6, 1e6),
    )


def _slopes(
    decoder: SceneDecoder, moves: Moves, means: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch value coordinate"]:
    """Return the derivative of each image by each coordinate of a move, by forward differences.

    A coordinate of all objects takes one rasterization: each object's moved layer is then
    composited with the others' layers as they are.
    """
    slopes = means.new_empty(len(means), means.shape[1:].numel(), moves.size)
    split = moves.num_objects * moves.per_object
    here = decoder.layers(moves.start)
    swapped = _one_swapped(moves.num_objects)
    background = decoder.background(moves.start)
    for coordinate in range(moves.per_object):
        column = moves.zero()
        column[:, coordinate : split : moves.per_object] = DIFFERENCE
        there = decoder.layers(moves.at(column))
        shown = composite(join([here, there]), swapped, background).rgb
        shown = shown.movedim(-1, 2).to(means.device)
        change = (shown - means[:, None]).flatten(2) / DIFFERENCE
        slopes[..., coordinate : split : moves.per_object] = change.movedim(1, -1)
    for coordinate in range(split, moves.size):
        column = moves.zero()
        column[:, coordinate] = DIFFERENCE
        change = decoder.image(moves.at(column)) - means
        slopes[..., coordinate] = change.flatten(1) / DIFFERENCE
    return slopes


def _one_swapped(num_objects: int) -> Int[Tensor, "image object"]:
    """Return selections of N layers followed by N others: image i takes its i-th from these."""
    layer = torch.arange(num_objects)
    return torch.where(torch.eye(num_objects, dtype=torch.bool), layer + num_objects, layer)


def _damped_least_squares(
    slopes: Float[Tensor, "batch value move"],
    residual: Float[Tensor, "batch value"],
    damping: Float[Tensor, " batch"],
) -> Float[Tensor, "batch move"]:
    """Return the move of least |residual - slopes move|^2, held back by ``damping``."""
    curvature = slopes.mT @ slopes
    diagonal = curvature.diagonal(dim1=1, dim2=2)
    # The floor keeps solvable what no pixel depends on: absent objects, a smooth solid's turn.
    floor = LEAST_CURVATURE * diagonal.amax(dim=1, keepdim=True) + 1e-6
    held = curvature + torch.diag_embed(damping[:, None] * diagonal + floor)
    return torch.linalg.solve(held, slopes.mT @ residual[..., None])[..., 0]
