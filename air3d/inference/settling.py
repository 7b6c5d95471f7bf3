"""Settle scenes where log p(x | z) is highest, to the precision that the noise leaves."""

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.inference.moves import Moves
from air3d.models.decoders import SceneDecoder, gaussian_log_likelihood
from air3d.render import Layers
from air3d.render.composite import composite, join
from air3d.render.images import Background
from air3d.scene import ABSENT, Scenes, choose

DIFFERENCE = 2e-4  # of a move; a pixel of a shifted edge changes by some 1e-3
WIDE_DIFFERENCE = 5e-4  # about what noise leaves open of a move
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
    """Climb log p(x | z) in all that ``Moves`` moves, from near its peak.

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
    return _climb(_Whole(decoder), images, scenes, steps)


@torch.no_grad()
def settle_object(
    decoder: SceneDecoder,
    images: Tensor,
    scenes: Scenes,
    slot: Int[Tensor, " batch"],
    steps: int,
) -> Scenes:
    """Climb log p(x | z) in what moves one object of each scene, while all else stays.

    As :func:`settle`, at a small part of its cost.

    Args:
        decoder: renders and scores.
        images: [batch, 3, height, width]; no gradients reach them.
        scenes: where to start, one per image; no gradients reach them.
        slot: which object.
        steps: how many.
    """
    order = torch.arange(scenes.identity.shape[1], device=slot.device).expand(len(slot), -1)
    others = scenes.pick(order.masked_fill(order == slot[:, None], ABSENT))
    around = _Around(decoder, decoder.layers(others), decoder.background(others))
    settled = _climb(around, images, scenes.pick(slot[:, None]), steps)
    # The others' slots keep what they hold; the settled object comes from beyond them.
    back = torch.where(order == slot[:, None], order.shape[1], order)
    back = torch.where((scenes.identity == ABSENT) & (order != slot[:, None]), ABSENT, back)
    return scenes.beside(settled).pick(back)


@torch.no_grad()
def lesser_slopes_at(
    decoder: SceneDecoder, scenes: Scenes
) -> Float[Tensor, "batch value coordinate"]:
    """Return the derivatives of whole scenes' images by ``Moves``, the lesser to each side.

    Where a face comes before another a pixel jumps, and a difference across that grows beyond all
    bounds; the difference to the other side does not.
    """
    one, other = _to_both_sides(decoder, scenes, WIDE_DIFFERENCE)
    return torch.where(one.abs() < other.abs(), one, other)


@torch.no_grad()
def central_slopes_at(
    decoder: SceneDecoder, scenes: Scenes
) -> Float[Tensor, "batch value coordinate"]:
    """Return the derivatives of whole scenes' images by ``Moves``, by central differences."""
    one, other = _to_both_sides(decoder, scenes, DIFFERENCE)
    return 0.5 * (one + other)


def _to_both_sides(
    decoder: SceneDecoder, scenes: Scenes, difference: float
) -> tuple[Float[Tensor, "batch value coordinate"], Float[Tensor, "batch value coordinate"]]:
    # A guide may believe what lies beyond the prior's ranges, whither no move leads: the difference
    # from there would be that to the edge of the ranges.
    unmoved = Moves(decoder, scenes)
    scenes = unmoved.at(unmoved.zero())
    moves, means, picture = Moves(decoder, scenes), decoder.image(scenes), _Whole(decoder)
    back, forward = (picture.slopes(moves, means, side) for side in (-difference, difference))
    return back, forward


class _Picture(Protocol):
    """What a search looks at while it moves scenes."""

    @property
    def decoder(self) -> SceneDecoder: ...

    def image(self, scenes: Scenes) -> Float[Tensor, "batch 3 height width"]:
        """Render."""
        ...

    def slopes(
        self, moves: Moves, means: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch value coordinate"]:
        """Return the derivative of the image by the first coordinates of a move.

        Forward differences from ``means``, the image where the moves start.
        """
        ...


@dataclass(frozen=True)
class _Whole:
    """Whole scenes move, and their views."""

    decoder: SceneDecoder

    def image(self, scenes: Scenes) -> Tensor:
        return self.decoder.image(scenes)

    def slopes(self, moves: Moves, means: Tensor, difference: float = DIFFERENCE) -> Tensor:
        """Take one rasterization for a coordinate of all objects.

        Each object's moved layer is then composited with the others' layers as they are.
        """
        decoder = self.decoder
        slopes = means.new_empty(len(means), means.shape[1:].numel(), moves.size)
        split = moves.num_objects * moves.per_object
        here = decoder.layers(moves.start)
        swapped = _one_swapped(moves.num_objects)
        background = decoder.background(moves.start)
        for coordinate in range(moves.per_object):
            column = moves.zero()
            column[:, coordinate : split : moves.per_object] = difference
            there = decoder.layers(moves.at(column))
            shown = composite(join([here, there]), swapped, background).rgb
            shown = shown.movedim(-1, 2).to(means.device)
            change = (shown - means[:, None]).flatten(2) / difference
            slopes[..., coordinate : split : moves.per_object] = change.movedim(1, -1)
        for coordinate in range(split, moves.size):
            column = moves.zero()
            column[:, coordinate] = difference
            change = decoder.image(moves.at(column)) - means
            slopes[..., coordinate] = change.flatten(1) / difference
        return slopes


@dataclass(frozen=True)
class _Around:
    """Single objects move among others, whose layers and background stay."""

    decoder: SceneDecoder
    others: Layers
    background: Background

    def image(self, scenes: Scenes) -> Tensor:
        return self._images(scenes)[:, 0]

    def slopes(self, moves: Moves, means: Tensor) -> Tensor:
        columns = DIFFERENCE * torch.eye(moves.per_object, moves.size, device=means.device)
        moved = [moves.at(column.expand(len(means), -1)) for column in columns]
        shown = self._images(functools.reduce(Scenes.beside, moved))
        return ((shown - means[:, None]) / DIFFERENCE).flatten(2).mT

    def _images(self, scenes: Scenes) -> Float[Tensor, "batch object 3 height width"]:
        """Return one image for each of the objects, alone with the others."""
        number, objects = self.others.log_weight.shape[1], scenes.identity.shape[1]
        layers = join([self.others, self.decoder.layers(scenes)])
        each = torch.arange(objects)[:, None] + number
        selection = torch.cat([torch.arange(number).expand(objects, -1), each], dim=1)
        shown = composite(layers, selection, self.background).rgb
        return shown.movedim(-1, 2).to(scenes.scale.device)


def _climb(picture: _Picture, images: Tensor, scenes: Scenes, steps: int) -> Scenes:
    if Moves(picture.decoder, scenes).size == 0 or len(images) == 0:
        return scenes
    damping = images.new_full((len(images),), DAMPING)
    state = _State(scenes, picture.image(scenes), damping)
    for _ in range(steps):
        state = _step(picture, images, state)
    return state.scenes


@dataclass(frozen=True)
class _State:
    """Where each image's search is, what that looks like, and how carefully it goes on."""

    scenes: Scenes
    means: Float[Tensor, "batch 3 height width"]
    damping: Float[Tensor, " batch"]


def _step(picture: _Picture, images: Tensor, state: _State) -> _State:
    """Solve for a move, and take it where it lessens the squared error."""
    moves = Moves(picture.decoder, state.scenes)
    slopes = picture.slopes(moves, state.means)
    residual = (images - state.means).flatten(1)
    move = _damped_least_squares(slopes, residual, state.damping)
    scenes = moves.at(torch.nn.functional.pad(move, (0, moves.size - move.shape[1])))
    means = picture.image(scenes)
    before, after = ((m - images).square().flatten(1).sum(dim=1) for m in (state.means, means))
    wins = after < before
    factor = torch.where(wins, LESS_DAMPING, MORE_DAMPING)
    return _State(
        choose(wins, scenes, state.scenes),
        torch.where(wins[:, None, None, None], means, state.means),
        (state.damping * factor).clamp(1e-6, 1e6),
    )


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
