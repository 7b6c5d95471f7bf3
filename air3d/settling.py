"""Settle scenes where log p(x | z) is highest, to the precision that the noise leaves."""

import dataclasses
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.models.decoders import SceneDecoder, gaussian_log_likelihood
from air3d.render import Instances, composite, light_of, render_layers
from air3d.scene import Scenes

RADIANS_PER_DIAMETER = 2.0
"""A move's turn: so much changes a picture about as much as a shift by a diameter."""

DIFFERENCE = 2e-4  # of a move; a pixel of a shifted edge changes by some 1e-3
DAMPING, LESS_DAMPING, MORE_DAMPING = 1e-2, 0.1, 10.0
LEAST_CURVATURE = 1e-4  # of the greatest of an image: holds what its pixels do not show


def log_likelihood(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes
) -> Float[Tensor, " batch"]:
    """Return log p(x | scene); gradients reach the scenes' positions and yaws."""
    means = decoder.image(scenes)[:, None]
    return gaussian_log_likelihood(images, means, decoder.noise_std)[:, 0]


def moved(decoder: SceneDecoder, scenes: Scenes, moves: Float[Tensor, "batch object 3"]) -> Scenes:
    """Shift objects along the plane and turn them; gradients reach the moves.

    A move is (x, y, turn): the shift in diameters of the decoder's largest mesh, and a turn by
    ``RADIANS_PER_DIAMETER`` times as many radians.
    """
    unit = max(mesh.diameter for mesh in decoder.bank.meshes)
    xy = scenes.position[..., :2] + unit * moves[..., :2]
    position = torch.cat([xy, scenes.position[..., 2:]], dim=-1)
    yaw = scenes.yaw + RADIANS_PER_DIAMETER * moves[..., 2]
    return dataclasses.replace(scenes, position=position, yaw=yaw)


@torch.no_grad()
def settle(decoder: SceneDecoder, images: Tensor, scenes: Scenes, steps: int) -> Scenes:
    """Climb log p(x | z) in position (along the plane) and yaw from near its peak.

    Levenberg and Marquardt's method, image by image, with the renderer's derivatives by forward
    differences: a step costs as much as five images. A step that goes down is not taken. It
    converges within some ten steps from a few hundredths of a diameter away.

    Args:
        decoder: renders and scores.
        images: [batch, 3, height, width].
        scenes: where to start, one per image.
        steps: how many.
    """
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
    slopes = _slopes(decoder, state)
    moves = _damped_least_squares(slopes, (images - state.means).flatten(1), state.damping)
    scenes = moved(decoder, state.scenes, moves.unflatten(1, state.scenes.yaw.shape[1:] + (3,)))
    means = decoder.image(scenes)
    before, after = ((m - images).square().flatten(1).sum(dim=1) for m in (state.means, means))
    wins = after < before
    factor = torch.where(wins, LESS_DAMPING, MORE_DAMPING)
    return _State(
        choose(wins, scenes, state.scenes),
        torch.where(wins[:, None, None, None], means, state.means),
        (state.damping * factor).clamp(1e-6, 1e6),
    )


def _slopes(decoder: SceneDecoder, state: _State) -> Float[Tensor, "batch value move"]:
    """Return the derivative of each image by each coordinate of its objects' moves.

    Every object is rendered where it is and moved along each coordinate, four layers; an image
    takes one of each object's, all but one of them unmoved.
    """
    num_objects = state.scenes.yaw.shape[1]
    steps = DIFFERENCE * torch.eye(4, device=state.means.device)[:, 1:].repeat(num_objects, 1)
    fourfold = Scenes(
        state.scenes.identity.repeat_interleave(4, dim=1),
        state.scenes.position.repeat_interleave(4, dim=1),
        state.scenes.yaw.repeat_interleave(4, dim=1),
    )
    candidates = moved(decoder, fourfold, steps.expand(len(state.means), -1, 3)).to("cpu")
    layers = render_layers(
        decoder.bank,
        Instances(candidates.identity, candidates.object_to_world),
        decoder.camera,
        light=light_of(decoder.spec.light),
        softness=decoder.spec.render,
    )
    image = torch.arange(3 * num_objects)
    selection = (4 * torch.arange(num_objects)).repeat(len(image), 1)
    selection[image, image // 3] += 1 + image % 3
    images = composite(layers, selection, decoder.background).rgb.movedim(-1, 2)
    return ((images.to(state.means) - state.means[:, None]) / DIFFERENCE).flatten(2).mT


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


def choose(wins: Tensor, one: Scenes, other: Scenes) -> Scenes:
    """Return for each image ``one`` where it ``wins`` [batch], else ``other``."""
    position = torch.where(wins[:, None, None], one.position, other.position)
    yaw = torch.where(wins[:, None], one.yaw, other.yaw)
    return dataclasses.replace(other, position=position, yaw=yaw)
