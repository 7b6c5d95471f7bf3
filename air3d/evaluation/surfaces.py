"""Distances between a mesh in two poses: MSSD, MSPD, ADD and ADD-S, in the camera's frame.

Definitions: Hodan et al., "BOP Challenge 2020 on 6D Object Localization" (ECCVW 2020), for the
symmetry-aware surface and projection distances; Hinterstoisser et al., "Model Based Training,
Detection and Pose Estimation of Texture-Less 3D Objects" (ACCV 2012), for the average distances.
BOP knows no scale: here the vertices of the truth are multiplied by its scale, those of the
estimate by its own, so a wrong scale is an error as a wrong place is. How a ball is turned shows
nowhere: wherever it is placed, it is not turned.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from air3d.estimate import ObjectEstimate
from air3d.geometry import Camera, rigid_transform, rotation_of
from air3d.scene import Mesh, Scenes

TURN = 0.01
"""How far the rim of a solid of revolution moves between two of the turns that stand for all of
them, at most, in diameters (BOP's toolkit uses this value)."""


@dataclass(frozen=True)
class Placed:
    """A mesh's vertices as a camera sees them.

    Attributes:
        points: in the camera's frame, metres [V, 3].
        pixels: their places in the image [V, 2]; infinite for points behind the camera.
    """

    points: Float[Tensor, "*twin vertex 3"]
    pixels: Float[Tensor, "*twin vertex 2"]


def symmetric_turns(mesh: Mesh) -> Float[Tensor, "turn 3 3"]:
    """Return the turns that leave a mesh as it is, no turn among them.

    The turns of a solid of revolution are as many as keep two neighbours within ``TURN``.
    """
    turns, freedom = mesh.group.turns, mesh.group.freedom
    if freedom != 2:
        return turns
    number = math.ceil(math.pi / TURN)
    angles = torch.arange(number, dtype=torch.float64) * (2 * math.pi / number)
    around = rotation_of(angles[:, None] * mesh.group.axes[0])
    return (around[:, None] @ turns).flatten(0, 1)


def place_estimate(thing: ObjectEstimate, mesh: Mesh, camera: Camera) -> Placed:
    """Put a mesh where an estimate says that it is, seen by the estimated camera (one)."""
    return _place(mesh, thing.scale, thing.object_to_world, camera)


def place_truth(scene: Scenes, index: int, mesh: Mesh) -> Placed:
    """Put a mesh where object ``index`` of a batch of one is."""
    scale = float(scene.scale[0, index])
    return _place(mesh, scale, scene.object_to_world[0, index], scene.camera)


def place_twins(scene: Scenes, index: int, mesh: Mesh) -> Placed:
    """Put a mesh there in all its symmetric turns."""
    turns = symmetric_turns(mesh)
    twins = scene.object_to_world[0, index].cpu().double() @ rigid_transform(
        turns, turns[..., 0] * 0
    )
    return _place(mesh, float(scene.scale[0, index]), twins, scene.camera)


def mssd(estimated: Placed, twins: Placed) -> float:
    """Return the largest distance (metres) of corresponding vertices, least over the turns."""
    return _furthest(estimated.points - twins.points)


def mspd(estimated: Placed, twins: Placed) -> float:
    """Return the largest distance (pixels) of corresponding projections, least over the turns."""
    return _furthest((estimated.pixels - twins.pixels).nan_to_num(nan=math.inf))


def add(estimated: Placed, true: Placed) -> float:
    """Return the mean distance (metres) of corresponding vertices, no symmetry considered."""
    return float((estimated.points - true.points).norm(dim=-1).mean())


def add_s(estimated: Placed, true: Placed) -> float:
    """Return the mean distance (metres) from each true vertex to the nearest estimated one."""
    distances, _ = KDTree(estimated.points.numpy()).query(true.points.numpy())
    return float(distances.mean())


def _furthest(offsets: Float[Tensor, "twin vertex axis"]) -> float:
    """Return the longest offset, least over the twins."""
    return math.sqrt(float(offsets.square().sum(dim=-1).amax(dim=-1).min()))


def _place(
    mesh: Mesh, scale: float, object_to_world: Float[Tensor, "*twin 4 4"], camera: Camera
) -> Placed:
    vertices = scale * mesh.vertices.detach().cpu().double()
    object_to_world = object_to_world.detach().cpu().double()
    if mesh.group.freedom == 0:
        place = object_to_world[..., :3, 3]
        object_to_world = rigid_transform(torch.eye(3).expand(*place.shape, 3).to(place), place)
    object_to_camera = camera.world_to_camera[0].cpu().double() @ object_to_world
    turned = object_to_camera[..., :3, :3] @ vertices.T  # coordinates first: this is far faster
    points = turned + object_to_camera[..., :3, 3:]
    homogeneous = camera.intrinsics[0].cpu().double() @ points
    depth = points[..., 2:, :]
    pixels = torch.where(depth > 0, homogeneous[..., :2, :] / depth, math.inf)
    return Placed(points.mT, pixels.mT)
