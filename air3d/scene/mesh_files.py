"""Mesh files: read with their texture or their colours, checked, and written."""

import dataclasses
import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
import trimesh
from jaxtyping import Float, Int
from torch import Tensor

from air3d.scene.assets import Mesh
from air3d.scene.spec import MeshType, SceneSpec
from air3d.scene.symmetry import find_symmetry_group, find_yaw_symmetry

# Two vertices that a texture's seam has split keep sharing their normal where the surface turns by
# less than 60 degrees; where it turns by more, they are an edge.
CREASE_COSINE = 0.5

BLACK_PIXEL = b"P6 1 1 255 \0\0\0"
"""An image in the plainest of Pillow's formats (PPM)."""


class MeshFileError(ValueError):
    """A mesh file that cannot be used; the message names the file and the remedy."""


def load_mesh(
    path: str | Path, name: str | None = None, yaw_symmetry: int | Literal["continuous"] = 1
) -> Mesh:
    """Read a mesh file (PLY, OBJ, GLB, ...) with its texture, or else with its vertex colours.

    It is grey where it has neither. Beside a texture vertex colours are white, but for those that
    a GLB file says its texture is to be multiplied by (base colour factor, colours per vertex).
    Opacity is ignored.

    Raises:
        MeshFileError: the file or its texture cannot be read, it has no faces, has vertices or
            texture coordinates that are not finite, or faces with vertices that are not there.
    """
    path = Path(path)
    try:
        companions = _Companions(str(path))
        scene = trimesh.load_scene(path, resolver=companions, process=False)
        _apply_factors(scene)
        loaded = scene.to_mesh()
        texture = _texture(scene, loaded)
    except Exception as error:  # trimesh raises whatever its readers raise
        raise MeshFileError(
            f"{path}: cannot be read as a mesh ({error}); export it anew"
        ) from error
    _check_geometry(path, loaded)
    _check_texture(path, loaded, companions.unread, is_there=texture is not None)
    textured = texture is not None
    return Mesh(
        name=name or path.stem,
        vertices=torch.tensor(np.asarray(loaded.vertices), dtype=torch.float32),
        faces=torch.tensor(np.asarray(loaded.faces), dtype=torch.int64),
        colours=_texture_factors(scene, loaded) if textured else _vertex_colours(loaded),
        normals=_vertex_normals(loaded, has_seams=textured),
        yaw_symmetry=yaw_symmetry,
        diameter=_diameter(loaded),
        path=path,
        uvs=torch.tensor(loaded.visual.uv, dtype=torch.float32) if textured else None,
        texture=texture,
    )


def make_mesh(
    vertices: Float[Tensor, "vertex 3"],
    faces: Int[Tensor, "face 3"],
    colours: Float[Tensor, "vertex 3"] | None = None,
    *,
    name: str = "mesh",
    yaw_symmetry: int | Literal["continuous"] = 1,
) -> Mesh:
    """Return a mesh of one's own arrays, with area-weighted normals; white without ``colours``.

    Gradients that reach a bank's vertices and colours go on to these arrays; normals and diameter
    are constants.

    Raises:
        ValueError: shapes do not fit together, or a face names a vertex that is not there.
    """
    colours = torch.ones_like(vertices) if colours is None else colours
    zeros = torch.zeros_like(vertices)
    mesh = Mesh(name, vertices, faces, colours, zeros, yaw_symmetry, 0.0, Path(name))  # checks
    solid = trimesh.Trimesh(vertices.detach().cpu().numpy(), faces.cpu().numpy(), process=False)
    normals = _vertex_normals(solid, has_seams=False).to(vertices)
    return dataclasses.replace(mesh, normals=normals, diameter=_diameter(solid))


def load_assets(spec: SceneSpec) -> tuple[Mesh, ...]:
    """Read the meshes that a scene file names; identity i is the i-th of them.

    Their symmetries are found from them where the scene file does not state them.
    """
    kinds = zip(spec.mesh_paths, spec.objects.types, strict=True)
    load = _load_free if spec.objects.rotation == "free" else _load_upright
    return tuple(load(path, kind) for path, kind in kinds)


def _load_free(path: Path, kind: MeshType) -> Mesh:
    mesh = load_mesh(path, kind.name)
    return dataclasses.replace(mesh, symmetry=find_symmetry_group(mesh))


def _load_upright(path: Path, kind: MeshType) -> Mesh:
    if kind.yaw_symmetry is not None:
        return load_mesh(path, kind.name, kind.yaw_symmetry)
    mesh = load_mesh(path, kind.name)
    return dataclasses.replace(mesh, yaw_symmetry=find_yaw_symmetry(mesh))


class _Companions(trimesh.resolvers.FilePathResolver):
    """Finds the files that a mesh file names; trimesh does not tell which ones it did not get.

    Attributes:
        unread: the materials and images among them that are missing or cannot be opened.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.unread: list[str] = []

    def get(self, name: str) -> bytes:
        is_image = Path(name).suffix.lower() in PIL.Image.registered_extensions()
        try:
            content = super().get(name)
            if is_image:
                PIL.Image.open(io.BytesIO(content)).close()
        except Exception:
            self.unread.append(name)
            if not is_image:
                raise
            # Any image will do, as the mesh will be refused; without one trimesh prints the trace.
            return BLACK_PIXEL
        return content


def _apply_factors(scene: trimesh.Scene) -> None:
    """Multiply textures by their base colour factor where trimesh will merge several parts.

    Its own product of the two overflows eight bits.
    """
    if len(scene.graph.nodes_geometry) < 2:
        return
    for part in scene.geometry.values():
        image, factor = _image(part), _factor(part)
        if image is not None and factor is not None:
            pixels = np.round(np.asarray(image.convert("RGB")) * factor)
            part.visual.material.baseColorTexture = PIL.Image.fromarray(pixels.astype(np.uint8))
            part.visual.material.baseColorFactor = None


def _check_geometry(path: Path, loaded: Any) -> None:
    """Refuse what cannot be rendered."""
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


def _check_texture(path: Path, loaded: trimesh.Trimesh, unread: list[str], *, is_there: bool):
    """Refuse a texture that is not all there."""
    uvs = getattr(loaded.visual, "uv", None)
    if uvs is None:
        return
    if unread:
        raise MeshFileError(
            f"{path}: names {unread[0]} for its texture, which is missing or damaged; put it into "
            "the mesh's folder, or export the mesh without texture"
        )
    if is_there and (uvs.shape != (len(loaded.vertices), 2) or not np.isfinite(uvs).all()):
        raise MeshFileError(
            f"{path}: some texture coordinates are missing or not finite numbers; export it anew"
        )


def _texture(
    scene: trimesh.Scene, loaded: trimesh.Trimesh
) -> Float[Tensor, "height width 3"] | None:
    """Return the texture that a mesh has and has coordinates for, if any."""
    uvs, image = getattr(loaded.visual, "uv", None), _image(loaded)
    # Where trimesh merges parts that have no texture, it makes one of their colours.
    made_up = all(_image(part) is None for part in scene.geometry.values())
    if uvs is None or image is None or made_up:
        return None
    return torch.tensor(np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0)


def _vertex_colours(loaded: trimesh.Trimesh) -> Float[Tensor, "vertex 3"]:
    visual = loaded.visual
    if visual.kind == "texture":
        colours = visual.material.to_color(visual.uv)
        colours = visual.material.main_color if colours is None else colours
    else:
        colours = visual.vertex_colors
    colours = np.asarray(colours, dtype=np.float32)[..., :3] / 255.0
    return torch.tensor(np.broadcast_to(colours, loaded.vertices.shape).copy())


def _texture_factors(scene: trimesh.Scene, loaded: trimesh.Trimesh) -> Float[Tensor, "vertex 3"]:
    """Return what a GLB file wants its texture multiplied by, at each vertex; else ones."""
    factors = np.ones((len(loaded.vertices), 3))
    if (factor := _factor(loaded)) is not None:
        factors *= factor
    # Merging loses the colours of vertices, so they are those of a part that is all there is.
    colours = next(iter(scene.geometry.values())).visual.vertex_attributes.get("color")
    if colours is not None and len(colours) == len(factors):
        factors *= trimesh.visual.color.to_float(colours)[:, :3]
    return torch.tensor(factors, dtype=torch.float32)


def _image(part: Any) -> PIL.Image.Image | None:
    """Return the texture of a part of a scene, if it has one."""
    material = getattr(getattr(part, "visual", None), "material", None)
    physical = getattr(material, "baseColorTexture", None)
    return getattr(material, "image", None) if physical is None else physical


def _factor(part: Any) -> Float[np.ndarray, "3"] | None:
    """Return the base colour factor of a part of a scene.

    An OBJ file's diffuse colour is none: many programs write some grey there beside a texture,
    and most readers (PyTorch3D is one) leave it out.
    """
    factor = getattr(part.visual.material, "baseColorFactor", None)
    return None if factor is None else np.asarray(factor, float)[:3] / 255.0


def _vertex_normals(mesh: trimesh.Trimesh, *, has_seams: bool) -> Float[Tensor, "vertex 3"]:
    """Sum the cross products of the faces around each vertex (area weighted), to unit length."""
    vertices = torch.tensor(np.asarray(mesh.vertices))
    faces = torch.tensor(np.asarray(mesh.faces))
    a, b, c = vertices[faces].unbind(1)
    face_normals = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(0, faces[:, corner], face_normals)
    if has_seams:
        normals = _across_seams(vertices, normals)
    return torch.nn.functional.normalize(normals, dim=-1, eps=1e-12).float()


def _across_seams(
    vertices: Float[Tensor, "vertex 3"], normals: Float[Tensor, "vertex 3"]
) -> Float[Tensor, "vertex 3"]:
    """Add to each vertex's normal those of the others at its place, but not across an edge.

    Else light would show the seams of a texture, where each vertex is split into several.
    """
    _, place, count = vertices.unique(dim=0, return_inverse=True, return_counts=True)
    order = place.argsort(stable=True)
    unit = torch.nn.functional.normalize(normals, dim=-1, eps=1e-12)
    joined = normals.clone()
    for step in range(1, int(count.max())):
        first, second = order[:-step], order[step:]
        smooth = (unit[first] * unit[second]).sum(dim=-1) > CREASE_COSINE
        smooth &= place[first] == place[second]
        first, second = first[smooth], second[smooth]
        joined[first] += normals[second]
        joined[second] += normals[first]
    return joined


def _diameter(mesh: trimesh.Trimesh) -> float:
    """Largest distance between two vertices, found among those of the convex hull."""
    try:
        points = np.asarray(mesh.convex_hull.vertices)
    except Exception:  # a flat mesh has no hull of positive volume
        points = np.asarray(mesh.vertices)
    return float(max(np.linalg.norm(points - point, axis=1).max() for point in points))
