"""Scenes as a scene file describes them, to images."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import Camera
from air3d.geometry.tensors import constant
from air3d.render.composite import composite
from air3d.render.ground import Ground, checkerboard, ground_layer, plain_ground
from air3d.render.images import Background
from air3d.render.instances import Instances
from air3d.render.renderer import render
from air3d.scene import Light, MeshBank, Scenes, SceneSpec
from air3d.scene.spec import TableSpec


def render_scenes(
    spec: SceneSpec, bank: MeshBank, scenes: Scenes
) -> Float[Tensor, "batch 3 height width"]:
    """Render scenes with a scene file's table, softness and background; channels come first.

    Gradients reach the scenes' positions, rotations, scales, colours, cameras and lights.
    """
    rgb = render(
        bank,
        Instances(scenes.identity, scenes.object_to_world, scenes.scale, scenes.colour),
        scenes.camera,
        light=scenes.light,
        softness=spec.render,
        background=behind_objects(spec, scenes.camera, scenes.light),
    )
    return rgb.movedim(-1, 1)


def behind_objects(spec: SceneSpec, camera: Camera, light: Light) -> Background:
    """Return what is seen where no object is: the scene file's background, or its table on it.

    The table's image lies behind the objects, which stand on it and hide it; it is not merged with
    them (see :func:`~air3d.render.ground_layer`). Gradients reach the camera and the light.
    """
    background = constant(spec.background, camera.world_to_camera)
    if spec.table is None:
        return background
    ground = _ground_of(spec.table).to(background.device, background.dtype)
    table = ground_layer(ground, camera, light, spec.render)
    return composite(table, torch.tensor([[0]]), background).rgb[:, 0]


def _ground_of(table: TableSpec) -> Ground:
    extents, centre = table.half_extents, table.centre
    if table.second_colour is None:
        return plain_ground(table.colour, half_extents=extents, centre=centre)
    return checkerboard(
        table.colour, table.second_colour, table.square, half_extents=extents, centre=centre
    )
