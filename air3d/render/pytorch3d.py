"""PyTorch3D's own objects and its rasterizer, where it is installed: the border to its frames.

Its camera axes are +x left, +y up, +z forward, its matrices act on row vectors, and its NDC's
short side spans [-1, 1]. It calculates in float32.
"""

from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import Camera
from air3d.render.fragments import Fragments, RasterSettings, check_ranges
from air3d.render.surfaces import Surfaces
from air3d.render.textures import UVTexture
from air3d.scene.lights import Light


def rasterize(
    face_verts: Float[Tensor, "face 3 3"],
    first_face: Int[Tensor, " image"],
    num_faces: Int[Tensor, " image"],
    neighbour: Int[Tensor, " face"],
    settings: RasterSettings,
) -> Fragments:
    """Rasterize by PyTorch3D, with its gradients: they are noisy where it clamps denominators.

    Args:
        face_verts, first_face, num_faces: as for :func:`air3d.render.rasterize.rasterize`.
        neighbour: the other half of each face that was cut in two, -1 for the others.
        settings: what to keep.

    Raises:
        ImportError: PyTorch3D is not installed.
        ValueError: the faces are not float32, or images ask for faces that are not there.
    """
    _pytorch3d()
    # What their public verb calls with the faces of its meshes.
    from pytorch3d.renderer.mesh.rasterize_meshes import _RasterizeFaceVerts

    if face_verts.dtype != torch.float32:
        raise ValueError(
            f"rasterize: face_verts must be torch.float32 for PyTorch3D, got {face_verts.dtype}; "
            "convert it by .float() or choose another backend"
        )
    check_ranges(first_face, num_faces, len(face_verts))
    # Without bins, as their fixed capacity loses faces where many meet.
    bin_size, faces_per_bin = 0, 0
    maps = _RasterizeFaceVerts.apply(
        face_verts,
        first_face,
        num_faces,
        neighbour,
        settings.image_size,
        settings.blur_radius,
        settings.faces_per_pixel,
        bin_size,
        faces_per_bin,
        settings.perspective_correct,
        settings.clip_barycentric_coords,
        settings.cull_backfaces,
    )
    return Fragments(*maps)


def cameras_to_pytorch3d(camera: Camera):
    """Return the same cameras as PerspectiveCameras; gradients reach ``camera``.

    Raises:
        ImportError: PyTorch3D is not installed.
        ValueError: the intrinsics are skewed, or scale their last row, which these cannot.
    """
    renderer = _pytorch3d().renderer
    _check_intrinsics(camera.intrinsics)
    height, width = camera.image_size
    half_side = 0.5 * min(height, width)
    turned = camera.world_to_camera[:, :3] * camera.intrinsics.new_tensor([[-1.0], [-1.0], [1.0]])
    centre = camera.intrinsics.new_tensor([0.5 * width, 0.5 * height])
    return renderer.PerspectiveCameras(
        R=turned[..., :3].mT,
        T=turned[..., 3],
        focal_length=camera.intrinsics.diagonal(dim1=1, dim2=2)[:, :2] / half_side,
        principal_point=(centre - camera.intrinsics[:, :2, 2]) / half_side,
        image_size=torch.tensor([camera.image_size]).expand(len(camera), 2),
        device=camera.intrinsics.device,
    )


def meshes_to_pytorch3d(surfaces: Surfaces):
    """Return the surfaces as Meshes with their normals and colours or textures.

    Gradients reach all that they hold.

    Raises:
        ImportError: PyTorch3D is not installed.
        ValueError: textures are of several sizes or are several in an image, or colours multiply
            them.
    """
    structures, renderer = _pytorch3d().structures, _pytorch3d().renderer
    per_vertex, per_face = surfaces.num_vertices.tolist(), surfaces.num_faces.tolist()
    starts = (surfaces.num_vertices.cumsum(dim=0) - surfaces.num_vertices).tolist()
    faces = surfaces.faces.split(per_face)
    textures = renderer.TexturesVertex(list(surfaces.colours.split(per_vertex)))
    if surfaces.texture is not None:
        # Each mesh gets all coordinates, as its faces count them through all meshes.
        textures = renderer.TexturesUV(
            maps=_maps(surfaces, surfaces.texture),
            faces_uvs=list(surfaces.texture.faces_uvs.split(per_face)),
            verts_uvs=[surfaces.texture.verts_uvs] * len(surfaces),
        )
    return structures.Meshes(
        verts=list(surfaces.vertices.split(per_vertex)),
        faces=[part - start for part, start in zip(faces, starts, strict=True)],
        verts_normals=list(surfaces.normals.split(per_vertex)),
        textures=textures,
    )


def lights_to_pytorch3d(light: Light):
    """Return the light as DirectionalLights or PointLights; gradients reach ``light``.

    Raises:
        ImportError: PyTorch3D is not installed.
        ValueError: some lamps are far away and others are not.
    """
    renderer = _pytorch3d().renderer
    place, weight = light.source[:, :3], light.source[:, 3:]
    strengths = {
        "ambient_color": light.ambient,
        "diffuse_color": light.diffuse,
        "specular_color": light.specular,
        "device": light.source.device,
    }
    if (weight == 0.0).all():
        return renderer.DirectionalLights(direction=place, **strengths)
    if (weight > 0.0).all():
        return renderer.PointLights(location=place / weight, **strengths)
    raise ValueError(
        "lights_to_pytorch3d: light.source must hold lamps of one kind, all far away (fourth "
        f"coordinate 0) or all nearby (1), got {weight.flatten().tolist()}; convert them apart"
    )


def _pytorch3d() -> ModuleType:
    """Import PyTorch3D, which few machines have."""
    try:
        import pytorch3d.renderer
        import pytorch3d.structures
    except ImportError as error:
        raise ImportError(
            f"PyTorch3D is needed here and cannot be imported ({error}); install it as its "
            "INSTALL.md says, or use another backend"
        ) from error
    return pytorch3d


def _maps(surfaces: Surfaces, texture: UVTexture) -> Float[Tensor, "image row column 3"]:
    """Return each image's texture, the only one that TexturesUV has room for."""
    shown = [set(part.tolist()) for part in texture.faces_map.split(surfaces.num_faces.tolist())]
    sizes = torch.tensor(texture.maps.shape[1:3], device=texture.sizes.device)
    if (
        any(len(part) > 1 for part in shown)
        or -1 in set().union(*shown)
        or (texture.sizes != sizes).any()
        or (surfaces.colours != 1.0).any()
    ):
        raise ValueError(
            "meshes_to_pytorch3d: surfaces.texture must be one image of one size for all faces of "
            "a rendered image, under white colours, for PyTorch3D; use another backend"
        )
    return texture.maps[[min(part, default=0) for part in shown]]


def _check_intrinsics(intrinsics: Float[Tensor, "camera 3 3"]) -> None:
    """Refuse what has no focal lengths and principal point."""
    others = intrinsics[:, (0, 1, 2, 2), (1, 0, 0, 1)]
    if others.any() or (intrinsics[:, 2, 2] != 1.0).any():
        raise ValueError(
            "cameras_to_pytorch3d: camera.intrinsics must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] "
            f"for PyTorch3D, got {intrinsics[0].tolist()} first; use another backend"
        )
