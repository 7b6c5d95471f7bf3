"""Refine scenes by gradient through the renderer: pull them in from afar, then settle them."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.models.decoders import SceneDecoder, gaussian_log_likelihood
from air3d.models.pull_in import Sharpness, coarsen, sharpness_at
from air3d.scene import Scenes

RADIANS_PER_DIAMETER = 2.0


@dataclass(frozen=True)
class Pace:
    """How far Adam goes in a step; it falls along half a cosine.

    Attributes:
        first, last: diameters of the largest mesh per step. Yaws turn ``RADIANS_PER_DIAMETER``
            times as much in radians.
    """

    first: float
    last: float

    def at(self, progress: float) -> float:
        """Return the pace at a share ``progress`` (0 to 1) of the way."""
        return self.last + (self.first - self.last) * 0.5 * (1 + math.cos(math.pi * progress))


# Twenty steps of pulling in can cover a diameter; a twentieth of it is what settling can.
PULL_IN = Pace(0.1, 0.01)
SETTLE = Pace(0.005, 0.00005)


def refine(decoder: SceneDecoder, images: Tensor, scenes: Scenes, steps: int) -> Scenes:
    """Climb log p(x | z) in position (along the plane) and yaw, by gradient steps.

    The first ``pull_in.fraction`` of the steps climb a surrogate with a wider basin (soft
    rendering, coarse images; see :mod:`air3d.models.pull_in`). The rest climb log p(x | z) itself,
    from the likelier of the given scene and the one pulled in. So no image's log-likelihood ever
    falls.

    Args:
        decoder: renders and scores; its scene file says how to pull in.
        images: [batch, 3, height, width].
        scenes: where to start, one per image.
        steps: of both kinds together.
    """
    num_pulls = int(steps * decoder.spec.pull_in.fraction)
    given = _score(decoder, images, scenes)
    pulled = _score(decoder, images, _pull_in(decoder, images, scenes, num_pulls, steps))
    return _settle(decoder, images, _likelier(given, pulled), steps - num_pulls).scenes


def log_likelihood(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes
) -> Float[Tensor, " batch"]:
    """Return log p(x | scene); gradients reach the scenes' positions and yaws."""
    means = decoder.image(scenes)[:, None]
    return gaussian_log_likelihood(images, means, decoder.noise_std)[:, 0]


def coarse_log_likelihood(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes, sharpness: Sharpness
) -> Float[Tensor, " batch"]:
    """Score scenes by what is left of the images at some sharpness; gradients as above.

    It is the log-density of the coarse images under noise that averages out as if the pixels that
    one of theirs stands for were as many independent ones. So an error that is the same at every
    pixel costs the same at every level, and sharp rendering at level 0 gives log p(x | scene).
    """
    level = sharpness.level
    means = coarsen(decoder.image(scenes, sharpness.softness), level)
    std = decoder.noise_std / 2**level
    return gaussian_log_likelihood(coarsen(images, level), means[:, None], std)[:, 0]


@dataclass(frozen=True)
class _Scored:
    """Scenes and log p(x | scene) of each, without gradients."""

    scenes: Scenes
    score: Float[Tensor, " batch"]


class _Climb:
    """Adam on the positions (along the plane, in diameters) and yaws of a batch of scenes."""

    def __init__(self, decoder: SceneDecoder, scenes: Scenes):
        self._start = scenes
        self._unit = max(mesh.diameter for mesh in decoder.bank.meshes)
        self._xy = (scenes.position[..., :2] / self._unit).detach().clone().requires_grad_()
        self._yaw = scenes.yaw.detach().clone().requires_grad_()
        groups = [{"params": [self._xy]}, {"params": [self._yaw]}]
        self._optimiser = torch.optim.Adam(groups, betas=(0.8, 0.95))

    @property
    def scenes(self) -> Scenes:
        """Where the climb is; gradients reach what is climbed in."""
        xy = self._unit * self._xy
        position = torch.cat([xy, self._start.position[..., 2:]], dim=-1)
        return dataclasses.replace(self._start, position=position, yaw=self._yaw)

    @property
    def place(self) -> Scenes:
        """Where the climb is, without gradients."""
        with torch.no_grad():
            return dataclasses.replace(self.scenes, yaw=self._yaw.clone())

    def step(self, score: Float[Tensor, " batch"], pace: float) -> None:
        """Go a step up ``score``, which was computed from :attr:`scenes`."""
        at, turn = self._optimiser.param_groups
        at["lr"], turn["lr"] = pace, RADIANS_PER_DIAMETER * pace
        self._optimiser.zero_grad()
        (-score.sum()).backward()
        self._optimiser.step()


@torch.enable_grad()  # also where the caller has switched gradients off
def _pull_in(
    decoder: SceneDecoder, images: Tensor, scenes: Scenes, num_pulls: int, steps: int
) -> Scenes:
    """Climb ``num_pulls`` of ``steps`` steps, looking ever more sharply; return the last place."""
    climb = _Climb(decoder, scenes)
    for step in range(num_pulls):
        sharpness = sharpness_at(decoder.spec, step / steps)
        score = coarse_log_likelihood(decoder, images, climb.scenes, sharpness)
        climb.step(score, PULL_IN.at(step / num_pulls))
    return climb.place


@torch.enable_grad()
def _settle(decoder: SceneDecoder, images: Tensor, start: _Scored, steps: int) -> _Scored:
    """Climb log p(x | z) by ``steps`` steps; return each image's likeliest place on the way."""
    climb, best = _Climb(decoder, start.scenes), start
    for step in range(steps):
        score = log_likelihood(decoder, images, climb.scenes)
        best = _likelier(best, _Scored(climb.place, score.detach()))
        climb.step(score, SETTLE.at(step / steps))
    return _likelier(best, _score(decoder, images, climb.place))


def _score(decoder: SceneDecoder, images: Tensor, scenes: Scenes) -> _Scored:
    with torch.no_grad():
        return _Scored(scenes, log_likelihood(decoder, images, scenes))


def _likelier(one: _Scored, other: _Scored) -> _Scored:
    """Choose for each image."""
    wins = other.score > one.score
    position = torch.where(wins[:, None, None], other.scenes.position, one.scenes.position)
    yaw = torch.where(wins[:, None], other.scenes.yaw, one.scenes.yaw)
    scenes = dataclasses.replace(one.scenes, position=position, yaw=yaw)
    return _Scored(scenes, torch.where(wins, other.score, one.score))
