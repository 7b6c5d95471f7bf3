"""Meshes as files: PLY with vertex colours, GLB or PLY with a texture."""

import numpy as np
import PIL.Image
import trimesh
from jaxtyping import Float, UInt8
from torch import Tensor
from trimesh.visual.material import PBRMaterial

from air3d.scene.assets import Mesh


def mesh_to_ply(mesh: Mesh, *, scale: float = 1.0) -> bytes:
    """Return a mesh as a binary PLY file with vertex colours (8 bits) and normals.

    ``scale`` multiplies the vertices; at 1, ``load_mesh`` reads back the same mesh.

    Raises:
        ValueError: the mesh has a texture, which this file cannot hold.
    """
    if mesh.texture is not None:
        raise ValueError(
            f"mesh_to_ply: {mesh.name} has a texture, which a PLY file cannot hold; take "
            "textured_mesh_to_glb or textured_mesh_to_ply"
        )
    colours = trimesh.visual.ColorVisuals(vertex_colors=_eight_bits(mesh.colours))
    return _solid(mesh, colours, scale).export(file_type="ply", vertex_normal=True)


def textured_mesh_to_ply(mesh: Mesh, texture_file: str, *, scale: float = 1.0) -> bytes:
    """Return a mesh as a binary PLY file that names the image of its texture, beside it.

    As BOP's textured models do: a comment ``TextureFile``, and ``texture_u`` and ``texture_v`` at
    each vertex. Their readers take either the texture or vertex colours, so there are none here.

    Raises:
        ValueError: the mesh has no texture.
    """
    u, v = _uvs(mesh).T
    solid = _solid(mesh, None, scale)
    solid.vertex_attributes.update(texture_u=u, texture_v=v)
    content = solid.export(file_type="ply", vertex_normal=True)
    comment = f"\ncomment TextureFile {texture_file}\nelement vertex".encode()
    return content.replace(b"\nelement vertex", comment, 1)


def textured_mesh_to_glb(mesh: Mesh) -> bytes:
    """Return a mesh as a GLB file with its texture and vertex colours (8 bits) and normals.

    ``load_mesh`` reads back the same mesh, but for the last bits of v, which glTF counts downwards.

    Raises:
        ValueError: the mesh has no texture.
    """
    material = PBRMaterial(
        baseColorTexture=PIL.Image.fromarray(texture_pixels(mesh)),
        metallicFactor=0.0,
        roughnessFactor=1.0,
    )
    visual = trimesh.visual.TextureVisuals(uv=_uvs(mesh), material=material)
    opaque = np.full((len(mesh.colours), 1), 255, np.uint8)
    visual.vertex_attributes["color"] = np.hstack([_eight_bits(mesh.colours), opaque])
    return _solid(mesh, visual, 1.0).export(file_type="glb")


def texture_pixels(mesh: Mesh) -> UInt8[np.ndarray, "height width 3"]:
    """Return a mesh's texture as an image of 8 bits.

    Raises:
        ValueError: the mesh has no texture.
    """
    if mesh.texture is None:
        raise ValueError(f"texture_pixels: {mesh.name} has no texture; give a textured mesh")
    return _eight_bits(mesh.texture)


def _solid(mesh: Mesh, visual: trimesh.visual.base.Visuals | None, scale: float) -> trimesh.Trimesh:
    return trimesh.Trimesh(
        vertices=mesh.vertices.numpy() * scale,
        faces=mesh.faces.numpy(),
        vertex_normals=mesh.normals.numpy(),
        visual=visual,
        process=False,
    )


def _uvs(mesh: Mesh) -> Float[np.ndarray, "vertex 2"]:
    if mesh.uvs is None:
        raise ValueError(f"{mesh.name} has no texture to write; take mesh_to_ply")
    return mesh.uvs.numpy()


def _eight_bits(shares: Float[Tensor, "*rows 3"]) -> UInt8[np.ndarray, "*rows 3"]:
    return (shares.numpy() * 255.0).round().astype(np.uint8)
