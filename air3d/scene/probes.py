"""Points all over a mesh's surface, which tell whether the mesh, turned, is still the same."""

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from air3d.scene.assets import Mesh

TOLERANCE = 0.01
"""How far from the mesh its turned self may lie, as a share of the diameter.

A circle drawn as a polygon of 16 corners or more is still round.
"""

COLOUR_TOLERANCE = 0.05
"""How much a colour channel may differ between the two; colours lie in [0, 1]."""

SPACING = 0.025
"""Distance between neighbouring probes on the surface, as a share of the diameter."""

NEIGHBOURS = 8
FEW = slice(None, None, 16)
"""Probes that settle most cases."""


@dataclass(frozen=True)
class Probes:
    """Points all over a mesh's surface.

    Attributes:
        mesh: whose they are.
        corners: of its faces.
        points, colours: where the probes are, and what colour the surface has there.
        face: on which they lie.
        tree: of the points.
    """

    mesh: Mesh
    corners: Float[np.ndarray, "face 3 3"]
    points: Float[np.ndarray, "probe 3"]
    colours: Float[np.ndarray, "probe 3"]
    face: Int[np.ndarray, " probe"]
    tree: KDTree


def probe(mesh: Mesh) -> Probes:
    """Spread probes evenly over the faces, at least one on each that has an area."""
    corners = mesh.vertices.double().numpy()[mesh.faces.numpy()]
    spacing = SPACING * mesh.diameter
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
    area = trimesh.triangles.area(corners)
    # By its area a long thin face would get too few for one to be near all of it.
    counts = np.ceil(np.maximum(area / spacing**2, edges.max(axis=1) / spacing)).astype(int)
    counts[area == 0.0] = 0
    face = np.repeat(np.arange(len(corners)), counts)
    number = np.arange(len(face)) - np.repeat(np.cumsum(counts) - counts, counts)
    # A sequence that fills the square evenly (Roberts' R2), folded into the triangle.
    square = (0.5 + (number[:, None] + 0.5) * np.array([0.7548776662, 0.5698402910])) % 1.0
    square = np.where(square.sum(axis=1, keepdims=True) > 1.0, 1.0 - square, square)
    weights = np.column_stack([square, 1.0 - square.sum(axis=1)])
    points = (weights[:, :, None] * corners[face]).sum(axis=1)
    colours = _colours(mesh, face, weights)
    return Probes(mesh, corners, points, colours, face, KDTree(points))


def stays_itself(probes: Probes, rotation: Float[np.ndarray, "3 3"]) -> bool:
    """Return whether a mesh turned about its origin coincides with itself."""
    return _coincides(probes, FEW, rotation) and _coincides(probes, slice(None), rotation)


def _coincides(probes: Probes, chosen: slice, rotation: Float[np.ndarray, "3 3"]) -> bool:
    """Return whether every chosen probe, turned, finds the surface near, of its own colour."""
    points = probes.points[chosen] @ rotation.T
    _, nearest = probes.tree.query(points, k=min(NEIGHBOURS, len(probes.points)))
    face = probes.face[np.reshape(nearest, (len(points), -1))]
    corners = probes.corners[face].reshape(-1, 3, 3)
    feet = trimesh.triangles.closest_point(corners, np.repeat(points, face.shape[1], axis=0))
    # A face like a needle may give no numbers; then its foot is none either, and never near.
    weights = np.nan_to_num(trimesh.triangles.points_to_barycentric(corners, feet))
    off = np.linalg.norm(feet.reshape(*face.shape, 3) - points[:, None], axis=-1)
    near = off <= TOLERANCE * probes.mesh.diameter
    colours = _colours(probes.mesh, face.reshape(-1), weights).reshape(*face.shape, 3)
    alike = np.abs(colours - probes.colours[chosen][:, None]).max(axis=-1) <= COLOUR_TOLERANCE
    return bool((near & alike).any(axis=1).all())


def _colours(
    mesh: Mesh, face: Int[np.ndarray, " point"], weights: Float[np.ndarray, "point 3"]
) -> Float[np.ndarray, "point 3"]:
    """Return the surface's colours: those of the vertices, times the nearest texel."""
    vertices = mesh.faces[torch.as_tensor(face)]
    shares = torch.as_tensor(weights, dtype=torch.float32)[..., None]
    colours = (mesh.colours[vertices] * shares).sum(dim=1)
    if mesh.uvs is not None and mesh.texture is not None:
        u, v = (mesh.uvs[vertices] * shares).sum(dim=1).clamp(0.0, 1.0).T
        height, width = mesh.texture.shape[:2]
        row, column = (1.0 - v) * (height - 1), u * (width - 1)
        colours = colours * mesh.texture[row.round().long(), column.round().long()]
    return colours.numpy()
