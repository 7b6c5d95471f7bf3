"""Which turns about its z axis leave a mesh as it is: found from its surface and its colours."""

from dataclasses import dataclass
from typing import Literal

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

FINEST = 64
"""A mesh counts as round if this part of a full turn and its doubles leave it as it is."""

ODD_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)
NEIGHBOURS = 8


def find_yaw_symmetry(mesh: Mesh) -> int | Literal["continuous"]:
    """Return k of a mesh's k-fold symmetry about its z axis (1: none), or ``"continuous"``.

    Shape and colour (vertex colours times texture) both count, to within ``TOLERANCE`` and
    ``COLOUR_TOLERANCE``; details smaller than ``SPACING`` may go unseen. Symmetries about other
    axes are not looked for: objects stand on a plane.
    """
    probes = _probe(mesh)
    if not len(probes.points):  # a mesh that is but lines shows nothing
        return 1
    fold = 1
    # Whatever k is, one of these turns is off by half of its k-th of a full turn.
    while fold < FINEST and _stays_itself(probes, 0.5 / fold):
        fold *= 2
    if fold == FINEST:
        return "continuous"
    for prime in ODD_PRIMES:
        power = prime
        while power <= FINEST and _has_fold(probes, power):
            power *= prime
            fold *= prime
    return fold


@dataclass(frozen=True)
class _Probes:
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


def _probe(mesh: Mesh) -> _Probes:
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
    return _Probes(mesh, corners, points, colours, face, KDTree(points))


def _has_fold(probes: _Probes, fold: int) -> bool:
    """Return whether a turn by a part of a full turn, and its doubles, keep a mesh as it is.

    The turn alone could be near enough to that of another symmetry, as the 11th to the 12th part.
    """
    return all(_stays_itself(probes, 2**double / fold) for double in range(fold.bit_length()))


def _stays_itself(probes: _Probes, turn: float) -> bool:
    """Return whether a mesh turned by a part of a full turn coincides with itself."""
    few = slice(None, None, 16)  # they settle most cases
    return _coincides(probes, few, turn) and _coincides(probes, slice(None), turn)


def _coincides(probes: _Probes, chosen: slice, turn: float) -> bool:
    """Return whether every chosen probe, turned, finds the surface near, of its own colour."""
    matrix = trimesh.transformations.rotation_matrix(2 * np.pi * turn, [0, 0, 1])[:3, :3]
    points = probes.points[chosen] @ matrix.T
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
