"""The lines by which one knows things in an image: outline, visible creases, axes; the table."""

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera, project
from air3d.inspection.placement import Placement, camera_position, to_numpy
from air3d.scene.spec import TableSpec

CREASE = np.radians(25.0)


@dataclass(frozen=True)
class Lines:
    """Straight pieces in an image: ``ends`` [S, 2, 2] holds the (u, v) of both ends, pixels."""

    ends: Float[np.ndarray, "segment 2 2"]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The smallest upright box round all pieces: left, top, right, bottom."""
        left, top = self.ends.reshape(-1, 2).min(0)
        right, bottom = self.ends.reshape(-1, 2).max(0)
        return float(left), float(top), float(right), float(bottom)

    def __len__(self) -> int:
        return len(self.ends)


def outline(placement: Placement, camera: Camera) -> Lines:
    """Project an object's silhouette and the creases on the side that faces the camera.

    An edge is drawn where a face towards the camera meets one that is turned away, or meets
    another that faces it at more than 25 degrees. What the object itself or others cover is
    drawn all the same, so on convex objects these are exactly the visible edges. Edges with
    an end in the camera's plane or behind it are left out.
    """
    world = placement.world_vertices
    solid = trimesh.Trimesh(to_numpy(world), placement.mesh.faces.cpu().numpy(), process=True)
    to_camera = camera_position(camera) - solid.triangles_center
    facing = (solid.face_normals * to_camera).sum(1) > 0
    first, second = facing[solid.face_adjacency].T
    crease = (first & second) & (solid.face_adjacency_angles > CREASE)
    edges = solid.face_adjacency_edges[(first != second) | crease]
    return _project_edges(torch.tensor(np.array(solid.vertices)), edges, camera)


def axes(placement: Placement, camera: Camera) -> tuple[tuple[int, Lines], ...]:
    """Project the object's own axes that its symmetry leaves meaning to, as (axis, line)."""
    which, length = placement.axes
    pose = placement.object_to_world.detach().cpu().double()
    tips = pose[:3, 3] + length * pose[:3, :3].T
    points = torch.cat([pose[None, :3, 3], tips])
    return tuple(
        (axis, _project_edges(points, np.array([[0, axis + 1]]), camera)) for axis in which
    )


def table_edges(table: TableSpec, camera: Camera) -> Lines:
    """Project the table's four edges, by which one sees whether the camera was found."""
    signs = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    corners = torch.tensor(table.centre) + signs * torch.tensor(table.half_extents)
    points = torch.cat([corners, torch.zeros(4, 1)], dim=1)
    return _project_edges(points, np.array([[0, 1], [1, 2], [2, 3], [3, 0]]), camera)


def _project_edges(
    points: Float[Tensor, "point 3"], edges: Int[np.ndarray, "edge 2"], camera: Camera
) -> Lines:
    seen = project(camera.to("cpu", torch.float64), points.double()[None])
    in_front = (seen.depth[0] > 1e-6).numpy()
    kept = edges[in_front[edges].all(axis=1)]
    return Lines(seen.pixels[0].numpy()[kept])
