"""Scenes of the full table, and the estimates that say of them just what is true."""

import torch
from conftest import ROOT

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.scene import Mesh, ScenePrior, Scenes, SceneSpec, load_assets, load_scene


def _table() -> SceneSpec:
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    assert isinstance(spec, SceneSpec)
    return spec


TABLE = _table()
CROCKERY = load_assets(TABLE)


def table_scenes(number: int, seed: int = 0) -> Scenes:
    """Draw laid tables."""
    return ScenePrior(TABLE, CROCKERY).sample(number, torch.Generator().manual_seed(seed))


def say_the_truth(scenes: Scenes, meshes: tuple[Mesh, ...] = CROCKERY) -> tuple[SceneEstimate, ...]:
    """Return the estimates that are right, and sure of it."""
    return tuple(
        _true_estimate(scenes[row : row + 1].present(), meshes) for row in range(len(scenes))
    )


def _true_estimate(scene: Scenes, meshes: tuple[Mesh, ...]) -> SceneEstimate:
    objects = tuple(
        ObjectEstimate(
            name=meshes[identity].name,
            identity=identity,
            identity_probability=1.0,
            presence_probability=1.0,
            object_to_world=scene.object_to_world[0, index],
            scale=float(scene.scale[0, index]),
            colour=scene.colour[0, index],
            position_covariance=0.01**2 * torch.eye(2),
        )
        for index, identity in enumerate(scene.identity[0].tolist())
    )
    probability = tuple(float(n == len(objects)) for n in range(7))
    image = torch.zeros(3, 4, 4)
    return SceneEstimate(len(objects), probability, objects, scene.camera, scene.light, image, 0.0)
