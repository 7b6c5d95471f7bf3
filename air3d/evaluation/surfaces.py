"""Distances between a mesh in two poses: MSSD, MSPD, ADD and ADD-S, in the camera's frame.

Definitions: Hodan et al., "BOP Challenge 2020 on 6D Object Localization" (ECCVW 2020), for the
symmetry-aware surface and projection distances; Hinterstoisser et al., "Model Based Training,
Detection and Pose Estimation of Texture-Less 3D Objects" (ACCV 2012), for the average distances.
BOP knows no scale: here the vertices of the truth are multiplied by its scale, those of the
estimate by its own, so a wrong scale is an error as a wrong place is.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from air3d.estimate import ObjectEstimate
from air3d.geometry import Camera, transform_points, yaw_rotation
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
    """Return the turns about z that leave a mesh as it is, no turn among them.

    The turns of a solid of revolution are as many as keep two neighbours within ``TURN``.
    """
    around = mesh.yaw_symmetry == "continuous"
    number = math.ceil(math.pi / TURN) if around else int(mesh.yaw_symmetry)
    return yaw_rotation(torch.arange(number, dtype=torch.float64) * (2 * math.pi / number))


def place_estimate(thing: ObjectEstimate, mesh: Mesh, camera: Camera) -> Placed:
    """Put a mesh where an estimate says that it is, seen by the estimated camera (one)."""
    vertices = thing.scale * mesh.vertices.double()
    return _place(vertices, thing.object_to_world, camera)


def place_truth(scene: Scenes, index: int, mesh: Mesh) -> Placed:
    """Put a mesh where object ``index`` of a batch of one is."""
    vertices = float(scene.scale[0, index]) * mesh.vertices.double()
    return _place(vertices, scene.object_to_world[0, index], scene.camera)


def place_twins(scene: Scenes, index: int, mesh: Mesh) -> Placed:
    """Put a mesh there in all its symmetric turns."""
    vertices = float(scene.scale[0, index]) * mesh.vertices.double()
    twins = vertices @ symmetric_turns(mesh).transpose(1, 2)
    return _place(twins, scene.object_to_world[0, index], scene.camera)


def mssd(estimated: Placed, twins: Placed) -> float:
    """Return the largest distance (metres) of corresponding vertices, least over the turns."""
    return float((estimated.points - twins.points).norm(dim=-1).amax(dim=-1).min())


def mspd(estimated: Placed, twins: Placed) -> float:
    """Return the largest distance (pixels) of corresponding projections, least over the turns."""
    off = (estimated.pixels - twins.pixels).norm(dim=-1).nan_to_num(nan=math.inf)
    return float(off.amax(dim=-1).min())


def add(estimated: Placed, true: Placed) -> float:
    """Return the mean distance (metres) of corresponding vertices, no symmetry considered."""
    return float((estimated.points - true.points).norm(dim=-1).mean())


def add_s(estimated: Placed, true: Placed) -> float:
    """Return the mean distance (metres) from each true vertex to the nearest estimated one."""
    distances, _ = KDTree(estimated.points.numpy()).query(true.points.numpy())
    return float(distances.mean())


def _place(
    vertices: Float[Tensor, "*twin vertex 3"], object_to_world: Tensor, camera: Camera
) -> Placed:
    world_to_camera = camera.world_to_camera[0].cpu().double()
    object_to_camera = world_to_camera @ object_to_world.detach().cpu().double()
    points = transform_points(object_to_camera, vertices.flatten(0, -2)).reshape(vertices.shape)
    homogeneous = points @ camera.intrinsics[0].cpu().double().T
    depth = points[..., 2:]
    pixels = torch.where(depth > 0, homogeneous[..., :2] / depth, math.inf)
    return Placed(points, pixels)
