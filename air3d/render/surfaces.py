"""The meshes of a batch of images, packed in the world, and their faces before a camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera, transform_points
from air3d.render.checks import check_kind, check_not_nan
from air3d.render.instances import (
    Instances,
    check_instances,
    ndc_intrinsics,
    scaled_poses,
    seeing_cameras,
)
from air3d.render.textures import UVTexture
from air3d.scene.assets import MeshBank

# PyTorch3D's; below it a normal shortens, as there is no telling where it points.
NORMAL_EPSILON = 1e-6
# No depth is nearer to 0 than this, so that none is divided by 0; rasterizers drop it anyway.
LEAST_DEPTH = 1e-8


@dataclass(frozen=True)
class Surfaces:
    """What each image shows, one image's vertices and faces after the other's.

    Attributes:
        vertices: in the world (metres).
        normals: outward, at the vertices; of any length, as shading brings them to 1.
        faces: packed vertices of each face, counter-clockwise seen from outside.
        num_vertices, num_faces: how many belong to each image.
        colours: at the vertices, before lighting; they multiply the texture.
        texture: None without one.
    """

    vertices: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "vertex 3"]
    faces: Int[Tensor, "face 3"]
    num_vertices: Int[Tensor, " image"]
    num_faces: Int[Tensor, " image"]
    colours: Float[Tensor, "vertex 3"]
    texture: UVTexture | None = None

    def __len__(self) -> int:
        return len(self.num_faces)

    @property
    def first_face(self) -> Int[Tensor, " image"]:
        """Index of each image's first face."""
        return _starts(self.num_faces)

    @property
    def vertex_image(self) -> Int[Tensor, " vertex"]:
        """Which image each vertex belongs to."""
        images = torch.arange(len(self), device=self.num_vertices.device)
        return images.repeat_interleave(self.num_vertices, output_size=len(self.vertices))


def pack_meshes(
    vertices: Sequence[Float[Tensor, "_ 3"]],
    faces: Sequence[Int[Tensor, "_ 3"]],
    colours: Sequence[Float[Tensor, "_ 3"]] | None = None,
) -> Surfaces:
    """Pack one mesh per image; the same tensors may come again, for another camera.

    Gradients reach the vertices, also through the normals, and the colours.

    Args:
        vertices: of each image's mesh, in the world (metres).
        faces: of each image's mesh, counting its own vertices from 0.
        colours: of each image's vertices; white if not given.

    Raises:
        ValueError: there are no meshes, or vertices, faces and colours do not fit together.
    """
    colours = [torch.ones_like(part) for part in vertices] if colours is None else colours
    if len(vertices) != len(faces) or not vertices:
        raise ValueError(
            "pack_meshes: vertices and faces must be as many, one per image and at least one, got "
            f"{len(vertices)} and {len(faces)}"
        )
    if [part.shape for part in colours] != [part.shape for part in vertices]:
        raise ValueError(
            f"pack_meshes: colours must be shaped as vertices, {[list(v.shape) for v in vertices]},"
            f" got {[list(part.shape) for part in colours]}"
        )
    device = vertices[0].device
    num_vertices = torch.tensor([len(part) for part in vertices], device=device)
    num_faces = torch.tensor([len(part) for part in faces], device=device)
    starts = _starts(num_vertices)
    packed = torch.cat(list(vertices))
    packed_faces = torch.cat([part + start for part, start in zip(faces, starts, strict=True)])
    normals = vertex_normals(packed, packed_faces)
    return Surfaces(
        packed, normals, packed_faces, num_vertices, num_faces, torch.cat(list(colours))
    )


def with_texture(
    surfaces: Surfaces,
    maps: Float[Tensor, "map row column 3"],
    verts_uvs: Float[Tensor, "coordinate 2"],
    faces_uvs: Int[Tensor, "face 3"],
) -> Surfaces:
    """Return the same surfaces in textures of one size; gradients reach maps and coordinates.

    Args:
        surfaces: what to paint; their colours multiply the texture.
        maps: one per image, or one for all, the first row on top.
        verts_uvs: coordinates (u, v) on the map, as :class:`UVTexture` has them.
        faces_uvs: the rows of ``verts_uvs`` at each packed face's corners.

    Raises:
        ValueError: there is neither one map nor one per image, there is not one row per face, or
            it names coordinates that are not there.
    """
    check_rows("maps", len(maps), surfaces)
    if len(faces_uvs) != len(surfaces.faces):
        raise ValueError(
            f"faces_uvs must have a row for each of the {len(surfaces.faces)} packed faces, got "
            f"{len(faces_uvs)}"
        )
    if not torch.compiler.is_compiling():  # else the mixing operation looks at the values
        _check_coordinates(faces_uvs, len(verts_uvs))
    images = torch.arange(len(surfaces), device=maps.device) % len(maps)
    sizes = torch.tensor([maps.shape[1:3]], device=maps.device).expand(len(maps), 2)
    faces_map = images.repeat_interleave(surfaces.num_faces, output_size=len(faces_uvs))
    return replace(surfaces, texture=UVTexture(maps, sizes, verts_uvs, faces_uvs, faces_map))


def pack_instances(bank: MeshBank, instances: Instances) -> Surfaces:
    """Copy each scene's meshes to where its instances stand in the world: one image per scene.

    For several cameras before one scene, expand its instances. Absent objects have no faces.
    Gradients reach the bank's vertices, colours, uvs and textures and the instances' poses, scales
    and colours; normals follow the vertices, not the bank's normals.

    Raises:
        ValueError: shapes, precisions or devices do not fit together, or an identity names no
            mesh.
    """
    check_instances(bank, instances)
    poses, seen = scaled_poses(instances)
    mesh = torch.where(seen, instances.identity, 0)
    num_vertices = torch.where(seen, bank.num_vertices[mesh], 0)
    num_faces = torch.where(seen, bank.num_faces[mesh], 0)
    mesh = mesh.flatten()
    vertices = transform_points(poses.flatten(0, 1), bank.vertices.index_select(0, mesh))
    faces = bank.faces.index_select(0, mesh) + _starts(num_vertices.flatten())[:, None, None]
    faces = _without_padding(faces, num_faces.flatten())
    vertices = _without_padding(vertices, num_vertices.flatten())
    colours = bank.colours.index_select(0, mesh)
    if instances.colour is not None:
        tint = torch.where(seen[..., None], instances.colour, 1.0)
        colours = colours * tint.flatten(0, 1)[:, None]
    return Surfaces(
        vertices,
        vertex_normals(vertices, faces),
        faces,
        num_vertices.sum(dim=1),
        num_faces.sum(dim=1),
        _without_padding(colours, num_vertices.flatten()),
        _texture(bank, mesh, faces, num_vertices.flatten(), num_faces.flatten()),
    )


def vertex_normals(
    vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"]
) -> Float[Tensor, "vertex 3"]:
    """Return unit vertex normals: the mean of the faces' normals, weighted by their areas.

    0 at a vertex of no face. Gradients reach the vertices. Source: PyTorch3D's Meshes.
    """
    v0, v1, v2 = at_corners(vertices, faces).unbind(dim=1)
    face_normals = torch.linalg.cross(v2 - v1, v0 - v1)
    normals = torch.zeros_like(vertices)
    for corner in faces.unbind(dim=1):
        normals = normals.index_add(0, corner, face_normals)
    return torch.nn.functional.normalize(normals, dim=-1, eps=NORMAL_EPSILON)


def project_faces(surfaces: Surfaces, camera: Camera) -> Float[Tensor, "face 3 3"]:
    """Return the faces' corners before each image's camera, as a rasterizer wants them.

    That is x and y in PyTorch3D's NDC (+x left, +y up, the short image side spans [-1, 1]) and
    the depth in metres. Gradients reach the vertices and the camera.

    Raises:
        ValueError: there is neither one camera nor one per image, the camera is of another
            precision or device than the surfaces, or it holds NaN.
    """
    check_rows("camera", len(camera), surfaces)
    matrices = {"camera": camera.world_to_camera, "intrinsics": camera.intrinsics}
    check_kind("project_faces", "surfaces", surfaces.vertices, **matrices)
    check_not_nan("project_faces", **matrices)
    camera, _ = seeing_cameras(camera)
    world_to_camera = rows_of(camera.world_to_camera[:, :3], surfaces.vertex_image)
    to_ndc = rows_of(ndc_intrinsics(camera), surfaces.vertex_image)
    # In two steps and not by one matrix, as PyTorch3D does: so float32 rounds alike.
    in_camera = world_to_camera[..., :3] @ surfaces.vertices[..., None] + world_to_camera[..., 3:]
    homogeneous = (to_ndc @ in_camera)[..., 0]
    depth = homogeneous[:, 2:]
    depth = torch.where(depth.abs() < LEAST_DEPTH, -LEAST_DEPTH, depth)
    return at_corners(torch.cat([homogeneous[:, :2] / depth, depth], dim=1), surfaces.faces)


def at_corners(
    values: Float[Tensor, "row channel"], faces: Int[Tensor, "face 3"]
) -> Float[Tensor, "face 3 channel"]:
    """Return the rows of ``values``, which gradients reach, at the faces' corners."""
    return values.index_select(0, faces.flatten()).unflatten(0, (-1, 3))


def check_rows(name: str, length: int, surfaces: Surfaces) -> None:
    """Refuse a batch that is neither one for all images nor one per image."""
    if length not in (1, len(surfaces)):
        raise ValueError(
            f"{name} must hold 1 or {len(surfaces)} rows (the number of images), got {length}"
        )


def rows_of(
    values: Float[Tensor, "row *rest"], image: Int[Tensor, " point"]
) -> Float[Tensor, "_ *rest"]:
    """Return each point's row by its image; the row itself, to be broadcast, if it is the only."""
    return values if len(values) == 1 else values.index_select(0, image)


def _check_coordinates(faces_uvs: Int[Tensor, "face 3"], count: int) -> None:
    """Refuse rows of coordinates that are not there."""
    if faces_uvs.numel() and not 0 <= int(faces_uvs.min()) <= int(faces_uvs.max()) < count:
        raise ValueError(
            f"faces_uvs must name the {count} rows of verts_uvs, counted from 0, got "
            f"{int(faces_uvs.min())} to {int(faces_uvs.max())}"
        )


def _texture(
    bank: MeshBank,
    mesh: Int[Tensor, " instance"],
    faces: Int[Tensor, "face 3"],
    num_vertices: Int[Tensor, " instance"],
    num_faces: Int[Tensor, " instance"],
) -> UVTexture | None:
    """Return the bank's textures as packed instances wear them."""
    if bank.textures.numel() == 0:
        return None
    uvs = _without_padding(bank.uvs.index_select(0, mesh), num_vertices)
    worn = torch.where(bank.texture_sizes[mesh, 0] > 0, mesh, -1)
    faces_map = worn.repeat_interleave(num_faces, output_size=len(faces))
    return UVTexture(bank.textures, bank.texture_sizes, uvs, faces, faces_map)


def _starts(counts: Int[Tensor, " part"]) -> Int[Tensor, " part"]:
    """Return where each part begins when all are put one after the other."""
    return counts.cumsum(dim=0) - counts


def _without_padding(padded: Tensor, counts: Int[Tensor, " part"]) -> Tensor:
    """Return the first ``counts`` rows of each part [part, row, channel], one after the other."""
    used = torch.arange(padded.shape[1], device=padded.device) < counts[:, None]
    return padded.flatten(0, 1).index_select(0, used.flatten().nonzero()[:, 0])
