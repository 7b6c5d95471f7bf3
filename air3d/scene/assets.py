"""Meshes with colours and textures, stored once for any number of instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.scene.symmetry_groups import SymmetryGroup


@dataclass(frozen=True)
class Mesh:
    """One closed triangle mesh in its own frame (metres, z up).

    Attributes:
        name: how results speak of it.
        vertices: [V, 3].
        faces: [F, 3], counter-clockwise seen from outside.
        colours: vertex colours [V, 3] in [0, 1], before lighting; they multiply the texture.
        normals: outward unit vertex normals [V, 3], area weighted.
        yaw_symmetry: k of a k-fold symmetry about z (1: none), or ``"continuous"``.
        diameter: largest distance between two vertices (BOP's definition).
        path: the file it came from.
        uvs: where each vertex lies on the texture [V, 2]: u to the right, v up, (0, 0) the middle
            of the lower left texel and (1, 1) that of the upper right one; beyond that the
            texture's border goes on. None without a texture.
        texture: [height, width, 3] in [0, 1], the first row on top; None without one.
        symmetry: all rotations that leave it as it is, where objects turn freely; None where they
            stand upright, and only ``yaw_symmetry`` counts.

    Raises:
        ValueError: shapes do not fit together, a face names a vertex that is not there, uvs come
            without a texture, or a texture without uvs.
    """

    name: str
    vertices: Float[Tensor, "vertex 3"]
    faces: Int[Tensor, "face 3"]
    colours: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "vertex 3"]
    yaw_symmetry: int | Literal["continuous"]
    diameter: float
    path: Path
    uvs: Float[Tensor, "vertex 2"] | None = None
    texture: Float[Tensor, "height width 3"] | None = None
    symmetry: SymmetryGroup | None = None

    def __post_init__(self) -> None:
        count = len(self.vertices)
        wanted = {"vertices": (count, 3), "colours": (count, 3), "normals": (count, 3)}
        if self.uvs is not None:
            wanted["uvs"] = (count, 2)
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"Mesh {self.name}: {name} must be {list(shape)}, as there are {count} "
                    f"vertices, got {list(getattr(self, name).shape)}"
                )
        faces = self.faces
        if faces.dim() != 2 or faces.shape[1] != 3 or faces.dtype != torch.int64:
            raise ValueError(
                f"Mesh {self.name}: faces must be triangles [F, 3] of torch.int64, got "
                f"{list(faces.shape)} of {faces.dtype}"
            )
        if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < count:
            raise ValueError(
                f"Mesh {self.name}: faces name vertices {int(faces.min())} to {int(faces.max())}, "
                f"but there are {count}, numbered from 0"
            )
        if (self.uvs is None) != (self.texture is None):
            there, lacking = ("texture", "uvs") if self.uvs is None else ("uvs", "texture")
            raise ValueError(
                f"Mesh {self.name}: has {there} but no {lacking}; give both of them, or neither"
            )

    @property
    def rest_height(self) -> float:
        """Height of the object's origin when it stands on the plane z = 0."""
        return -float(self.vertices[:, 2].min())

    @property
    def reach(self) -> float:
        """Radius of the upright cylinder about the object's z axis that bounds it (metres)."""
        return float(torch.linalg.vector_norm(self.vertices[:, :2], dim=1).max())

    @property
    def radius(self) -> float:
        """Radius of the ball about the object's origin that bounds it (metres)."""
        return float(torch.linalg.vector_norm(self.vertices, dim=1).max())

    @property
    def group(self) -> SymmetryGroup:
        """The rotations that leave the object as it is, of those that it may be found in."""
        return self.symmetry or SymmetryGroup.about_z(self.yaw_symmetry)

    @property
    def has_turn(self) -> bool:
        """Whether anything shows how it is turned: nothing of a ball, nor of a vase on its foot."""
        if self.symmetry is None:
            return self.yaw_symmetry != "continuous"
        return self.symmetry.freedom > 0


@dataclass(frozen=True)
class MeshBank:
    """Meshes side by side, padded to the largest, so that an instance is an index.

    Attributes:
        meshes: what was packed; M of them.
        vertices, colours, normals, uvs: [M, V, 3], uvs [M, V, 2]; rows from ``num_vertices[m]``
            on are padding, and so are all uvs of a mesh without a texture.
        textures: [M, Th, Tw, 3]; rows and columns from ``texture_sizes[m]`` on are padding. Where
            no mesh has a texture there are no rows at all.
        faces: [M, F, 3]; rows from ``num_faces[m]`` on are padding.
        num_vertices, num_faces: [M].
        texture_sizes: height and width [M, 2]; 0 and 0 for a mesh without a texture.
    """

    meshes: tuple[Mesh, ...]
    vertices: Float[Tensor, "mesh vertex 3"]
    colours: Float[Tensor, "mesh vertex 3"]
    normals: Float[Tensor, "mesh vertex 3"]
    uvs: Float[Tensor, "mesh vertex 2"]
    textures: Float[Tensor, "mesh height width 3"]
    faces: Int[Tensor, "mesh face 3"]
    num_vertices: Int[Tensor, " mesh"]
    num_faces: Int[Tensor, " mesh"]
    texture_sizes: Int[Tensor, "mesh 2"]

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
            uvs=pad([_uvs(mesh) for mesh in meshes]),
            textures=_pad_textures([_texture(mesh) for mesh in meshes]),
            faces=pad([mesh.faces for mesh in meshes]),
            num_vertices=torch.tensor([len(mesh.vertices) for mesh in meshes]),
            num_faces=torch.tensor([len(mesh.faces) for mesh in meshes]),
            texture_sizes=torch.tensor([_texture(mesh).shape[:2] for mesh in meshes]),
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        """Return the same bank on another device; ``dtype`` changes the floating arrays only."""
        floats = (self.vertices, self.colours, self.normals, self.uvs, self.textures)
        whole = (self.faces, self.num_vertices, self.num_faces, self.texture_sizes)
        return MeshBank(
            self.meshes,
            *(array.to(device, dtype) for array in floats),
            *(array.to(device) for array in whole),
        )


def _uvs(mesh: Mesh) -> Float[Tensor, "vertex 2"]:
    return torch.zeros_like(mesh.vertices[:, :2]) if mesh.uvs is None else mesh.uvs


def _texture(mesh: Mesh) -> Float[Tensor, "height width 3"]:
    return mesh.vertices.new_empty(0, 0, 3) if mesh.texture is None else mesh.texture


def _pad_textures(textures: list[Tensor]) -> Float[Tensor, "mesh height width 3"]:
    height, width = (max(texture.shape[side] for texture in textures) for side in (0, 1))
    return torch.stack(
        [
            torch.nn.functional.pad(t, (0, 0, 0, width - t.shape[1], 0, height - t.shape[0]))
            for t in textures
        ]
    )
