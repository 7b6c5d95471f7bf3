"""Leave wrong modes: where a picture is not explained, try other objects and keep what is better.

Climbing log p(x | z) cannot change what is discrete: how many objects there are, of which kinds,
turned to which side. So a round tries whole edits of a scene: at the place of the object that
explains worst, or where most is left over, the guide is told to look again, and each kind of
object that it may take for what it sees there is put in, beside what is there or in its stead. The
likeliest edits climb a little, and the likeliest of all stays. Where edits of one object help no
more, since two are wrong together, the guide draws whole scenes anew.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from air3d.geometry import yaw_rotation
from air3d.inference.explanations import Explanations, draw_of, join, score
from air3d.inference.proposals import propose
from air3d.inference.settling import settle, settle_object
from air3d.inference.watching import Stage, Watch, unwatched
from air3d.models import Air
from air3d.models.encoder import Encoded
from air3d.render.composite import join as join_layers
from air3d.render.composite import squared_error, visibility
from air3d.scene import ABSENT

SPREADS = (5, 13)
"""Sides (pixels) of the squares over which errors are averaged before their peak is sought: what
is missing is as large as an object, what is wrong may be small."""

SURPRISE, LOCAL_SURPRISE = 4.0, 7.0
"""An image is looked at again where its error, or that of one such square of it, exceeds what noise
leaves by so many standard deviations of that. Noise alone takes the worst of all squares to 5.5 in
one image of a hundred; a mug that is turned wrong changes few pixels."""

CLEARED = 0.5
"""What stands nearer than this (of the largest mesh's diameter) to a place is in its way."""

TRIED = 4
"""Edits of a scene that climb, of those that change its count alike."""

OWN_STEPS, STEPS = 8, 3
"""Of settling before an edit is judged: what is new by itself, then the whole scene."""

DRAWS = 16
"""Scenes that the guide draws anew in every other round but the first."""

REDRAWN_STEPS = 10
"""Of settling before a scene drawn anew is judged, which begins farther away than an edited one."""

LAST_STEPS = 6
"""Of settling in the end, where a scene was edited or drawn anew, be it in vain."""

TURNS = 12
"""Turns about z in which the object that is blamed is tried."""


@dataclass(frozen=True)
class Puzzle:
    """Images that are not explained, and what is left over of them.

    Attributes:
        model: a 3D model.
        images: to be explained.
        encoded: the same by the guide's encoder.
        explained: how they are, so far, the objects from near to far.
        excess: squared error in units of the noise's variance, less the 1 that noise leaves,
            averaged over the channels.
        attempt: how often this was tried before, each time with another object.
    """

    model: Air
    images: Float[Tensor, "batch 3 height width"]
    encoded: Encoded
    explained: Explanations
    excess: Float[Tensor, "batch height width"]
    attempt: int


@dataclass(frozen=True)
class Edits:
    """Several edits of each scene, before any has climbed.

    Attributes:
        explained: the edited scenes, edit by edit [several * batch].
        scores: of each [several, batch]; minus infinity for those that cannot be.
    """

    explained: Explanations
    scores: Float[Tensor, "several batch"]


def rescore(
    model: Air,
    images: Float[Tensor, "batch 3 height width"],
    explained: Explanations,
    rounds: int,
    watch: Watch = unwatched,
) -> Explanations:
    """Try edits of each scene that leaves too much of its image over; no score ever falls.

    In every other round the guide draws scenes anew, by torch's global random state.

    Args:
        model: a 3D model.
        images: of its size.
        explained: where to start.
        rounds: how often a scene may change.
        watch: is told the scenes after every round, and when they have settled.
    """
    with torch.no_grad():
        encoded = model.guide.encoder(images)
    retried = torch.zeros(len(images), dtype=torch.bool)
    for number in range(rounds):
        explained = _pruned(model, images, explained)
        excess = _excess(model, images, explained)
        rows = surprising(excess, images.shape[1]).nonzero()[:, 0]
        if len(rows) == 0:
            break
        retried[rows.cpu()] = True
        # Every other round edits one object, each time another.
        attempt = number // 2
        part = Puzzle(model, images[rows], encoded[rows], explained[rows], excess[rows], attempt)
        better = _best_redrawn(part) if number % 2 else _best_edit(part)
        explained = _replaced(explained, rows, better)
        watch(Stage(f"round {number + 1}: other objects tried", explained.scenes))
    explained = _pruned(model, images, explained)
    rows = retried.nonzero()[:, 0].to(images.device)
    part = explained[rows]
    scenes = settle(model.scene_decoder, images[rows], part.scenes, LAST_STEPS)
    explained = _replaced(explained, rows, part.at(scenes))
    watch(Stage("settled", explained.scenes))
    return explained


@torch.no_grad()
def _excess(model: Air, images: Tensor, explained: Explanations) -> Tensor:
    """Return each image's excess (see :class:`Puzzle`)."""
    error = (images - model.scene_decoder.image(explained.scenes)) / model.scene_decoder.noise_std
    return error.square().mean(dim=1) - 1.0


def surprising(
    excess: Float[Tensor, "batch height width"], channels: int
) -> Bool[Tensor, " batch"]:
    """Return whether noise alone would hardly leave so much of an image, or of a part of it.

    Args:
        excess: as of a :class:`Puzzle`.
        channels: of the images.
    """
    deviation = math.sqrt(2 / channels)
    total = excess.sum(dim=(1, 2)) / math.sqrt(excess[0].numel())
    found = total > SURPRISE * deviation
    for side in SPREADS:
        worst = side * _spread(excess, side).flatten(1).amax(dim=1)
        found |= worst > LOCAL_SURPRISE * deviation
    return found


@torch.no_grad()
def _pruned(model: Air, images: Tensor, explained: Explanations) -> Explanations:
    """Drop the object of each scene, if there is one, without which the scene is likelier."""
    explained = explained.pick(explained.scenes.order_from_near())
    number = explained.cost.shape[1]
    slots = torch.arange(number)
    without = slots.expand(number, -1).masked_fill(torch.eye(number, dtype=torch.bool), ABSENT)
    several = [explained.pick(order.expand(len(explained), -1)) for order in (slots, *without)]
    copies = images.repeat(len(several), 1, 1, 1)
    best = _best(_scored(model, copies, join(several), len(images)), 1).explained
    return best.pick(best.scenes.order_from_near())


def _best_edit(puzzle: Puzzle) -> Explanations:
    """Let the likeliest edits climb: first in what is new in them, then the best of them in all."""
    model, images, explained = puzzle.model, puzzle.images, puzzle.explained
    edits = _best_of_each_count(_edits(puzzle), explained, TRIED)
    copies = images.repeat(len(edits.scores), 1, 1, 1)
    new = torch.full((len(copies),), explained.cost.shape[1] - 1)
    scenes = settle_object(model.scene_decoder, copies, edits.explained.scenes, new, OWN_STEPS)
    edits = _scored(model, copies, edits.explained.at(scenes), len(images))
    edits = _best_of_each_count(edits, explained, 1)
    finalists = join([explained, edits.explained])
    copies = images.repeat(1 + len(edits.scores), 1, 1, 1)
    settled = finalists.at(settle(model.scene_decoder, copies, finalists.scenes, STEPS))
    return _best(_scored(model, copies, settled, len(images)), 1).explained


def _best_redrawn(puzzle: Puzzle) -> Explanations:
    """Let the likeliest of several scenes that the guide draws climb, and see whether they win."""
    model, images, explained = puzzle.model, puzzle.images, puzzle.explained
    copies = images.repeat(DRAWS, 1, 1, 1)
    with torch.no_grad():
        drawn = _best(_scored(model, copies, draw_of(model.guide.sample(copies)), len(images)), 2)
    drawn = drawn.explained
    copies = images.repeat(2, 1, 1, 1)
    drawn = drawn.at(settle(model.scene_decoder, copies, drawn.scenes, REDRAWN_STEPS))
    finalists = join([explained, drawn])
    copies = images.repeat(3, 1, 1, 1)
    return _best(_scored(model, copies, finalists, len(images)), 1).explained


def _best_of_each_count(edits: Edits, explained: Explanations, number: int) -> Edits:
    """Keep the best of those with fewer objects, with as many, and with more than before.

    What explains with fewer objects begins badly, since one object must get right at once what
    several have been fitted to.
    """
    count = edits.explained.scenes.count.unflatten(0, edits.scores.shape)
    more = (count - explained.scenes.count).sign()
    kinds = [
        Edits(edits.explained, edits.scores.masked_fill(more != sign, -math.inf))
        for sign in (-1, 0, 1)
    ]
    return _joined([_best(kind, number) for kind in kinds])


def _scored(model: Air, copies: Tensor, several: Explanations, batch: int) -> Edits:
    return Edits(several, score(model, copies, several).unflatten(0, (-1, batch)))


def _best(edits: Edits, number: int) -> Edits:
    """Keep a number of the likeliest edits of each scene; the first of equals first."""
    number = min(number, len(edits.scores))
    best = edits.scores.sort(dim=0, descending=True, stable=True).indices[:number]
    row = torch.arange(best.shape[1])
    return Edits(edits.explained[(best * len(row) + row).flatten()], edits.scores.gather(0, best))


def _edits(puzzle: Puzzle) -> Edits:
    """Return scenes with one object more, or with another in the stead of one or more."""
    scenes = puzzle.explained.scenes
    slots = torch.arange(scenes.identity.shape[1])
    everything = torch.where(scenes.identity == ABSENT, ABSENT, slots)
    blamed = _blamed(puzzle)
    others = everything.masked_fill(slots == blamed[:, None], ABSENT)
    place = puzzle.model.pose_head.normalised_pixels(
        scenes.camera, scenes.position[torch.arange(len(blamed)), blamed]
    )
    several = [_with_each_kind(puzzle, others, place), _turned(puzzle, others, blamed)]
    for centre in (place, *(_peak(puzzle.excess, side) for side in SPREADS)):
        several += [_with_each_kind(puzzle, _cleared(puzzle, everything, centre), centre)]
        several += [_with_each_kind(puzzle, everything, centre)]
    return _joined(several)


def _joined(several: Sequence[Edits]) -> Edits:
    scores = torch.cat([edits.scores for edits in several])
    return Edits(join([edits.explained for edits in several]), scores)


def _blamed(puzzle: Puzzle) -> Int[Tensor, " batch"]:
    """Return the object of each scene that shows where most is left over; 0 where there is none.

    At the second attempt it is the object with the second most, and so on.
    """
    scenes = puzzle.explained.scenes
    with torch.no_grad():
        layers = puzzle.model.scene_decoder.layers(scenes)
        shown = visibility(layers, torch.arange(scenes.identity.shape[1])[None])[:, 0]
    blame = (shown * puzzle.excess.clamp(min=0)[:, None]).sum(dim=(2, 3))
    blame = blame.masked_fill(scenes.identity == ABSENT, -1.0)
    worst_first = blame.argsort(dim=1, descending=True)
    turn = puzzle.attempt % scenes.count.clamp(min=1)
    return worst_first.gather(1, turn[:, None])[:, 0]


def _spread(excess: Float[Tensor, "batch height width"], side: int) -> Tensor:
    """Average the excess over a square (pixels) around each pixel, beyond the edges 0."""
    return torch.nn.functional.avg_pool2d(excess[:, None], side, 1, side // 2)[:, 0]


def _peak(excess: Float[Tensor, "batch height width"], side: int) -> Float[Tensor, "batch 2"]:
    """Return the middle of the square (pixels) where most is left over, normalised (x, y)."""
    height, width = excess.shape[1:]
    index = _spread(excess, side).flatten(1).argmax(dim=1)
    x, y = index % width, index // width
    return torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=1)


def _cleared(
    puzzle: Puzzle, order: Int[Tensor, "batch slot"], centre: Float[Tensor, "batch 2"]
) -> Int[Tensor, "batch slot"]:
    """Leave out what stands near the place on the plane that is seen at ``centre``."""
    scenes = puzzle.explained.scenes
    place = puzzle.model.pose_head.place_at(centre, scenes.camera)[:, None]
    away = torch.linalg.vector_norm((scenes.position - place)[..., :2], dim=-1)
    largest = max(mesh.diameter for mesh in puzzle.model.meshes)
    return order.masked_fill(away < CLEARED * largest, ABSENT)


def _with_each_kind(
    puzzle: Puzzle, known: Int[Tensor, "batch slot"], centre: Float[Tensor, "batch 2"]
) -> Edits:
    """Keep the ``known`` objects and add one of each kind that the guide sees at ``centre``."""
    rest = _with_room(puzzle, known)
    found = propose(puzzle.model, puzzle.images, puzzle.encoded, rest.scenes, centre)
    return _best_candidates(puzzle, rest, found, len(puzzle.model.meshes))


def _turned(
    puzzle: Puzzle, others: Int[Tensor, "batch slot"], blamed: Int[Tensor, " batch"]
) -> Edits:
    """Turn the object that is blamed to where it explains most."""
    rest, turns = _with_room(puzzle, others), torch.arange(TURNS) * (2 * math.pi / TURNS)
    candidates = puzzle.explained.pick(blamed[:, None].expand(-1, TURNS))
    rotation = candidates.scenes.rotation @ yaw_rotation(turns)
    scenes = dataclasses.replace(candidates.scenes, rotation=rotation)
    return _best_candidates(puzzle, rest, candidates.at(scenes), 1)


def _with_room(puzzle: Puzzle, known: Int[Tensor, "batch slot"]) -> Explanations:
    """Return the ``known`` objects, one slot fewer: were it full, the farthest would make room."""
    rest = puzzle.explained.pick(known)
    return rest.pick(rest.scenes.order_from_near()[:, :-1])


@torch.no_grad()
def _best_candidates(
    puzzle: Puzzle, rest: Explanations, candidates: Explanations, groups: int
) -> Edits:
    """Add to the rest the candidate of each group, all equally large, that explains most."""
    decoder = puzzle.model.scene_decoder
    layers = join_layers([decoder.layers(rest.scenes), decoder.layers(candidates.scenes)])
    known, number = rest.cost.shape[1], candidates.cost.shape[1]
    index = torch.arange(number)[:, None]
    selection = torch.cat([torch.arange(known).expand(number, -1), known + index], dim=1)
    background = decoder.background(rest.scenes)
    error = squared_error(layers, selection, background, puzzle.images.movedim(1, -1))
    prior = puzzle.model.pose_head.prior
    pairs = prior.log_prob_pairs(candidates.scenes, rest.scenes).sum(dim=2)
    scores = -0.5 * error / decoder.noise_std**2 + pairs - candidates.cost
    scores = scores.masked_fill(candidates.scenes.identity == ABSENT, -math.inf)
    grouped = scores.mT.unflatten(0, (groups, -1))
    first = torch.arange(0, number, number // groups)[:, None]
    likeliest = first + grouped.argmax(dim=1)
    several = [rest.beside(candidates.pick(pick[:, None])) for pick in likeliest]
    return Edits(join(several), grouped.amax(dim=1))


def _replaced(
    explained: Explanations, rows: Int[Tensor, " row"], better: Explanations
) -> Explanations:
    """Put other explanations in the place of some."""
    row = torch.arange(len(explained))
    row[rows] = len(explained) + torch.arange(len(rows))
    return join([explained, better])[row]
