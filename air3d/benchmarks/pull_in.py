"""From how far a pose comes home: put poses off by known distances and turns, and refine them."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from air3d.geometry import yaw_rotation
from air3d.inference.refinement import refine
from air3d.inference.settling import settle
from air3d.models.decoders import SceneDecoder
from air3d.scene import (
    ABSENT,
    Mesh,
    PullInSpec,
    RenderSpec,
    ScenePrior,
    Scenes,
    SceneSpec,
    concatenate,
)

HOME_POSITION = 0.02
"""Diameters of the object from the truth within which it is home."""

HOME_YAW = 2.0
"""Degrees, up to the object's symmetry, within which it is home."""

SETTLING_STEPS = 8
"""Steps after refinement, by the scene file's own sharpness: see :func:`come_home`."""

BATCH = 64
MAX_DRAWS = 200


@dataclass(frozen=True)
class Start:
    """How far off a refinement starts.

    Attributes:
        distance: diameters of the object, in any direction on the plane.
        angle: to either side, as a share of half the symmetry's period: at 1 the object is turned
            as wrongly as it can be (180 degrees without a symmetry, 45 of a cube).
    """

    distance: float
    angle: float


@dataclass(frozen=True)
class Trials:
    """Scenes, their images with noise, and where to start looking for them."""

    truth: Scenes
    start: Scenes
    images: Float[Tensor, "batch 3 height width"]


@dataclass(frozen=True)
class Homecoming:
    """How many objects of some trials come home.

    Attributes:
        objects: in all the trials' scenes; home: those that came home.
        turning, turning_home: the same of objects that have a yaw: no solids of revolution.
    """

    objects: int
    home: int
    turning: int
    turning_home: int


def ways_to_look(spec: SceneSpec) -> dict[str, SceneSpec]:
    """Return scene files that differ in how refinement looks at images, by name.

    Single scales (PyTorch3D's default, this package's, a softer one), then what the scene file
    says under ``pull_in``: its anneal alone, its pyramid alone, and both. All share its fraction.
    """
    pull_in, render = spec.pull_in, spec.render
    flat, side = {"sigma": render.sigma, "gamma": render.gamma}, {"coarsest": min(spec.image_size)}
    return {
        "single scale 1e-4, 1e-4 (PyTorch3D's default)": _single_scale(spec, 1e-4, 1e-4),
        "single scale 1e-4, 1e-3": _single_scale(spec, 1e-4, 1e-3),
        "single scale 1e-3, 1e-2": _single_scale(spec, 1e-3, 1e-2),
        "anneal": _with(spec, render, pull_in.model_copy(update=side)),
        "pyramid": _with(spec, render, pull_in.model_copy(update=flat)),
        "anneal and pyramid": spec,
    }


def _single_scale(spec: SceneSpec, sigma: float, gamma: float) -> SceneSpec:
    update = {"sigma": sigma, "gamma": gamma}
    none = {**update, "coarsest": min(spec.image_size)}
    render = spec.render.model_copy(update=update)
    return _with(spec, render, spec.pull_in.model_copy(update=none))


def _with(spec: SceneSpec, render: RenderSpec, pull_in: PullInSpec) -> SceneSpec:
    return spec.model_copy(update={"render": render, "pull_in": pull_in})


def draw_trials(
    spec: SceneSpec, meshes: tuple[Mesh, ...], start: Start, number: int, seed: int
) -> Trials:
    """Draw scenes from the prior, and put every object off; both lie within the prior's bounds.

    Raises:
        ValueError: next to no scene has room for such a distance.
    """
    generator = torch.Generator().manual_seed(seed)
    prior = ScenePrior(spec, meshes)
    kept: list[tuple[Scenes, Scenes]] = []
    for _ in range(MAX_DRAWS):
        truth = prior.sample(number, generator)
        off = _put_off(truth, meshes, start, generator)
        low, high = prior.xy.low, prior.xy.high
        inside = ((off.position[..., :2] >= low) & (off.position[..., :2] <= high)).all(dim=-1)
        rows = (inside | (truth.identity == ABSENT)).all(dim=1)
        kept.append((truth[rows], off[rows]))
        if sum(len(some) for some, _ in kept) >= number:
            break
    else:
        raise ValueError(
            f"distance {start.distance:g} diameters: next to no scene within the scene file's "
            "bounds has room for it; take a smaller one, or fewer objects"
        )
    truth, off = (concatenate(column)[:number] for column in zip(*kept, strict=True))
    return Trials(truth, off, _photograph(SceneDecoder(spec, meshes), truth, generator))


def come_home(trials: Trials, scene: SceneDecoder, way: SceneDecoder, steps: int) -> Homecoming:
    """Refine from the trials' starts by one way to look, and count who is home.

    A few steps of settling by the scene file's own sharpness follow: so a way is judged by how far
    it sees, and not by how far the peak of a softer picture lies from the truth.

    Args:
        trials: of the scene file.
        scene: renders as the scene file says.
        way: renders, and pulls in, in the way to be judged.
        steps: of refinement.
    """
    found = []
    for first in range(0, len(trials.images), BATCH):
        rows = slice(first, first + BATCH)
        refined = refine(way, trials.images[rows], trials.start[rows], steps)
        found.append(settle(scene, trials.images[rows], refined, SETTLING_STEPS))
    meshes = scene.bank.meshes
    home = is_home(concatenate(found), trials.truth, meshes)
    there = trials.truth.identity != ABSENT
    turns = torch.tensor([mesh.has_turn for mesh in meshes])
    turning = there & turns[trials.truth.identity]
    counts = (there, home & there, turning, home & turning)
    return Homecoming(*(int(count.sum()) for count in counts))


def is_home(found: Scenes, truth: Scenes, meshes: Sequence[Mesh]) -> Bool[Tensor, "batch object"]:
    """Tell which objects lie within ``HOME_POSITION`` and ``HOME_YAW`` of where they should."""
    diameter = _of_each(truth, [mesh.diameter for mesh in meshes])
    near = (found.position - truth.position).norm(dim=-1) <= HOME_POSITION * diameter
    half_period = _half_period(truth, meshes)
    turn = torch.remainder(found.yaw - truth.yaw + half_period, 2 * half_period) - half_period
    return near & ((half_period == 0.0) | (turn.abs() <= math.radians(HOME_YAW)))


def _put_off(
    truth: Scenes, meshes: Sequence[Mesh], start: Start, generator: torch.Generator
) -> Scenes:
    """Move each object by the start's distance in a random direction, and turn it either way."""
    shape = truth.yaw.shape
    direction = 2 * math.pi * torch.rand(shape, generator=generator)
    distance = start.distance * _of_each(truth, [mesh.diameter for mesh in meshes])
    zero = torch.zeros(shape)
    offset = torch.stack([distance * direction.cos(), distance * direction.sin(), zero], dim=-1)
    side = 2.0 * torch.randint(2, shape, generator=generator) - 1.0
    turn = side * start.angle * _half_period(truth, meshes)
    return dataclasses.replace(
        truth, position=truth.position + offset, rotation=truth.rotation @ yaw_rotation(turn)
    )


def _half_period(scenes: Scenes, meshes: Sequence[Mesh]) -> Float[Tensor, "batch object"]:
    """Return half the angle (radians) after which each object looks the same; 0 of a round one."""
    folds = [
        math.inf if mesh.yaw_symmetry == "continuous" else mesh.yaw_symmetry for mesh in meshes
    ]
    return _of_each(scenes, [math.pi / fold for fold in folds])


def _of_each(scenes: Scenes, values: Sequence[float]) -> Float[Tensor, "batch object"]:
    """Look up a value per mesh for each object; absent ones get some mesh's."""
    return torch.tensor(values)[scenes.identity]


def _photograph(decoder: SceneDecoder, scenes: Scenes, generator: torch.Generator) -> Tensor:
    """Render the scenes and add their noise."""
    with torch.no_grad():
        images = torch.cat(
            [decoder.image(scenes[i : i + BATCH]) for i in range(0, len(scenes), BATCH)]
        )
    return images + decoder.noise_std * torch.randn(images.shape, generator=generator)
