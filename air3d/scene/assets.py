"""Meshes: read from files, checked, and stored once for any number of instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor

from air3d.scene.spec import SceneSpec


class MeshFileError(ValueError):
    """A mesh file that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Mesh:
    """One closed triangle mesh in its own frame (metres, z up).

    Attributes:
        name: how results speak of it.
        vertices: [V, 3].
        faces: [F, 3], counter-clockwise seen from outside.
        colours: vertex colours [V, 3] in [0, 1], before lighting.
        normals: outward unit vertex normals [V, 3], area weighted.
        yaw_symmetry: k of a k-fold symmetry about z (1: none), or ``"continuous"``.
        diameter: largest distance between two vertices (BOP's definition).
        path: the file it came from.
    """

    name: str
    vertices: Float[Tensor, "vertex 3"]
    faces: Int[Tensor, "face 3"]
    colours: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "vertex 3"]
    yaw_symmetry: int | Literal["continuous"]
    diameter: float
    path: Path

    @property
    def rest_height(self) -> float:
        """Height of the object's origin when it stands on the plane z = 0."""
        return -float(self.vertices[:, 2].min())


def load_mesh(
    path: str | Path, name: str | None = None, yaw_symmetry: int | Literal["continuous"] = 1
) -> Mesh:
    """Read a mesh file (PLY, OBJ, GLB, ...) with its vertex colours; grey where it has none.

    Raises:
        MeshFileError: the file cannot be read, has no faces, has vertices that are not finite, or
            faces with vertices that are not there.
    """
    path = Path(path)
    try:
        loaded = trimesh.load_mesh(path, process=False)
    except Exception as error:  # trimesh raises whatever its readers raise
        raise MeshFileError(
            f"{path}: cannot be read as a mesh ({error}); export it anew"
        ) from error
    if not isinstance(loaded, trimesh.Trimesh) or len(loaded.faces) == 0:
        raise MeshFileError(f"{path}: has no faces; export it as a triangle mesh")
    if not np.isfinite(loaded.vertices).all():
        bad = int((~np.isfinite(loaded.vertices).all(axis=1)).sum())
        raise MeshFileError(f"{path}: {bad} vertices are not finite numbers; export it anew")
    if not 0 <= loaded.faces.min() <= loaded.faces.max() < len(loaded.vertices):
        raise MeshFileError(
            f"{path}: a face names a vertex that is not there (there are {len(loaded.vertices)}); "
            "export it anew"
        )
    if np.ptp(loaded.vertices, axis=0).max() <= 0.0:
        raise MeshFileError(f"{path}: all its vertices are one point; export it anew")
    visual = loaded.visual
    vertex_colours = (
        visual.to_color().vertex_colors if hasattr(visual, "to_color") else (visual.vertex_colors)
    )
    colours = np.asarray(vertex_colours, dtype=np.float32)[:, :3] / 255.0
    return Mesh(
        name=name or path.stem,
        vertices=torch.tensor(np.asarray(loaded.vertices), dtype=torch.float32),
        faces=torch.tensor(np.asarray(loaded.faces), dtype=torch.int64),
        colours=torch.tensor(np.broadcast_to(colours, loaded.vertices.shape).copy()),
        normals=_vertex_normals(loaded),
        yaw_symmetry=yaw_symmetry,
        diameter=_diameter(loaded),
        path=path,
    )


def mesh_to_ply(mesh: Mesh, *, scale: float = 1.0) -> bytes:
    """Return a mesh as a binary PLY file with vertex colours (8 bits) and normals.

    ``scale`` multiplies the vertices; at 1, :func:`load_mesh` reads back the same mesh.
    """
    exported = trimesh.Trimesh(
        vertices=mesh.vertices.numpy() * scale,
        faces=mesh.faces.numpy(),
        vertex_colors=(mesh.colours.numpy() * 255.0).round().astype(np.uint8),
        vertex_normals=mesh.normals.numpy(),
        process=False,
    )
    return exported.export(file_type="ply", vertex_normal=True)


def load_assets(spec: SceneSpec) -> tuple[Mesh, ...]:
    """Read the meshes that a scene file names; identity i is the i-th of them."""
    return tuple(
        load_mesh(path, kind.name, kind.yaw_symmetry)
        for path, kind in zip(spec.mesh_paths, spec.objects.types, strict=True)
    )


@dataclass(frozen=True)
class MeshBank:
    """Meshes side by side, padded to the largest, so that an instance is an index.

    Attributes:
        meshes: what was packed; M of them.
        vertices, colours, normals: [M, V, 3]; rows from ``num_vertices[m]`` on are padding.
        faces: [M, F, 3]; rows from ``num_faces[m]`` on are padding.
        num_vertices, num_faces: [M].
    """

    meshes: tuple[Mesh, ...]
    vertices: Float[Tensor, "mesh vertex 3"]
    colours: Float[Tensor, "mesh vertex 3"]
    normals: Float[Tensor, "mesh vertex 3"]
    faces: Int[Tensor, "mesh face 3"]
    num_vertices: Int[Tensor, " mesh"]
    num_faces: Int[Tensor, " mesh"]

    @classmethod
    def pack(cls, meshes: Sequence[Mesh]) -> "MeshBank":
        """Pad and stack meshes; at least one."""
        if not meshes:
            raise ValueError("MeshBank.pack: meshes is empty; give at least one mesh")

        def pad(rows: list[Tensor]) -> Tensor:
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

        return cls(
            meshes=tuple(meshes),
            vertices=pad([mesh.vertices for mesh in meshes]),
            colours=pad([mesh.colours for mesh in meshes]),
            normals=pad([mesh.normals for mesh in meshes]),
            faces=pad([mesh.faces for mesh in meshes]),
            num_vertices=torch.tensor([len(mesh.vertices) for mesh in meshes]),
            num_faces=torch.tensor([len(mesh.faces) for mesh in meshes]),
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        """Return the same bank on another device; ``dtype`` changes the floating arrays only."""
        return MeshBank(
            self.meshes,
            *(array.to(device, dtype) for array in (self.vertices, self.colours, self.normals)),
            *(array.to(device) for array in (self.faces, self.num_vertices, self.num_faces)),
        )


def _vertex_normals(mesh: trimesh.Trimesh) -> Float[Tensor, "vertex 3"]:
    """Sum the cross products of the faces around each vertex (area weighted), to unit length."""
    vertices = torch.tensor(np.asarray(mesh.vertices))
    faces = torch.tensor(np.asarray(mesh.faces))
    a, b, c = vertices[faces].unbind(1)
    face_normals = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(0, faces[:, corner], face_normals)
    return torch.nn.functional.normalize(normals, dim=-1, eps=1e-12).float()


def _diameter(mesh: trimesh.Trimesh) -> float:
    """Largest distance between two vertices, found among those of the convex hull."""
    try:
        points = np.asarray(mesh.convex_hull.vertices)
    except Exception:  # a flat mesh has no hull of positive volume
        points = np.asarray(mesh.vertices)
    return float(max(np.linalg.norm(points - point, axis=1).max() for point in points))
