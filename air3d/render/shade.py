"""Give every fragment its colour: interpolate what vertices carry, and light it.

The formulas are PyTorch3D's: Phong's reflection, unit vectors by division by at least 1e-6, and
no highlight where the lamp is behind the surface. A fragment that is not there gets 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from air3d.geometry import Camera
from air3d.render.checks import check_kind, check_not_nan
from air3d.render.fragments import Fragments
from air3d.render.hits import HitPixels
from air3d.render.instances import seeing_cameras
from air3d.render.surfaces import Surfaces, check_rows, rows_of
from air3d.scene.lights import Light

# PyTorch3D's: what is brought to unit length is divided by at least this.
EPSILON = 1e-6


@dataclass(frozen=True)
class _Lighting:
    """The light and the eye at a list of rows of points: one row of theirs for each, or for all.

    Attributes:
        source, ambient, diffuse, specular: as in :class:`~air3d.scene.lights.Light`.
        eye: where the camera stands.
        shininess: exponent of the highlight.
    """

    source: Float[Tensor, "_ 1 4"]
    ambient: Float[Tensor, "_ 1 3"]
    diffuse: Float[Tensor, "_ 1 3"]
    specular: Float[Tensor, "_ 1 3"]
    eye: Float[Tensor, "_ 1 3"]
    shininess: float

    @classmethod
    def at(
        cls, image: Int[Tensor, " row"], light: Light, camera: Camera, shininess: float
    ) -> "_Lighting":
        """Choose the rows by each point's image."""

        def rows(values: Tensor) -> Tensor:
            return rows_of(values, image)[:, None]

        return cls(
            rows(light.source),
            rows(light.ambient),
            rows(light.diffuse),
            rows(light.specular),
            rows(_eyes(camera)),
            shininess,
        )

    def on(
        self, points: Float[Tensor, "row point 3"], normals: Float[Tensor, "row point 3"]
    ) -> tuple[Tensor, Tensor]:
        """Return what light multiplies colours by, and the highlight that it adds; [R, P, 3]."""
        normals = normalize(normals, dim=-1, eps=EPSILON)
        to_lamp = self.source[..., :3] - self.source[..., 3:] * points
        to_lamp = normalize(to_lamp, dim=-1, eps=EPSILON)
        to_eye = normalize(self.eye - points, dim=-1, eps=EPSILON)
        cosine = (normals * to_lamp).sum(dim=-1, keepdim=True)
        mirrored = 2.0 * cosine * normals - to_lamp
        shine = (to_eye * mirrored).sum(dim=-1, keepdim=True)
        shines = (cosine > 0.0) & (shine > 0.0)
        # The power's derivative at 0 need not be finite.
        highlight = torch.where(shines, torch.where(shines, shine, 1.0) ** self.shininess, 0.0)
        return self.ambient + self.diffuse * cosine.clamp(min=0.0), self.specular * highlight


def interpolate(
    fragments: Fragments, face_attributes: Float[Tensor, "face 3 channel"]
) -> Float[Tensor, "image height width fragment channel"]:
    """Interpolate what the corners of faces carry, by the fragments' barycentric coordinates.

    0 where there is no fragment. Gradients reach the attributes and the barycentric coordinates.

    Raises:
        ValueError: the fragments name faces that have no attributes.
    """
    hits = _hits_among(fragments, len(face_attributes), "face_attributes")
    rows = torch.arange(3 * len(face_attributes), device=face_attributes.device).view(-1, 3)
    return hits.put(hits.interpolate(fragments.bary_coords, face_attributes.flatten(0, 1), rows))


def texels(
    fragments: Fragments, surfaces: Surfaces
) -> Float[Tensor, "image height width fragment 3"]:
    """Return the surfaces' own colours, as light of strength 1 from everywhere shows them.

    Gradients reach colours, texture and barycentric coordinates.

    Raises:
        ValueError: fragments and surfaces do not fit together.
    """
    hits = _hits(fragments, surfaces)
    colours = hits.interpolate(fragments.bary_coords, surfaces.colours, surfaces.faces)
    return hits.put(_textured(colours, hits, fragments, surfaces))


def gouraud_shading(
    fragments: Fragments,
    surfaces: Surfaces,
    camera: Camera,
    light: Light,
    *,
    shininess: float = 64.0,
) -> Float[Tensor, "image height width fragment 3"]:
    """Light the vertices, then interpolate what they show; a texture multiplies all but highlights.

    Gradients reach all of ``surfaces``, the camera, the light and the barycentric coordinates.

    Args:
        fragments: of ``surfaces``, rasterized before ``camera``.
        surfaces: what the fragments show.
        camera: one per image, or one for all; highlights depend on where it stands.
        light: one per image, or one for all.
        shininess: how narrow highlights are, the exponent of Phong's reflection.

    Raises:
        ValueError: arguments do not fit together, or camera or light hold NaN.
    """
    _check_lighting(surfaces, camera, light, shininess)
    hits = _hits(fragments, surfaces)
    lighting = _Lighting.at(surfaces.vertex_image, light, camera, shininess)
    lit, highlight = lighting.on(surfaces.vertices[:, None], surfaces.normals[:, None])
    lit, highlight = lit[:, 0] * surfaces.colours, highlight[:, 0]
    if surfaces.texture is None:
        return hits.put(hits.interpolate(fragments.bary_coords, lit + highlight, surfaces.faces))
    both = torch.cat([lit, highlight], dim=1)
    both = hits.interpolate(fragments.bary_coords, both, surfaces.faces)
    return hits.put(_textured(both[..., :3], hits, fragments, surfaces) + both[..., 3:])


def phong_shading(
    fragments: Fragments,
    surfaces: Surfaces,
    camera: Camera,
    light: Light,
    *,
    shininess: float = 64.0,
) -> Float[Tensor, "image height width fragment 3"]:
    """Interpolate positions, normals and colours, then light every fragment.

    Arguments, gradients and errors as for :func:`gouraud_shading`.
    """
    _check_lighting(surfaces, camera, light, shininess)
    hits = _hits(fragments, surfaces)
    at_vertices = torch.cat([surfaces.vertices, surfaces.normals, surfaces.colours], dim=1)
    values = hits.interpolate(fragments.bary_coords, at_vertices, surfaces.faces)
    points, normals, colours = values.split(3, dim=2)
    lit, highlight = _Lighting.at(hits.image, light, camera, shininess).on(points, normals)
    colours = _textured(colours, hits, fragments, surfaces)
    return hits.put(torch.where(hits.exists[..., None], lit * colours + highlight, 0.0))


def _textured(
    colours: Float[Tensor, "pixel fragment 3"],
    hits: HitPixels,
    fragments: Fragments,
    surfaces: Surfaces,
) -> Float[Tensor, "pixel fragment 3"]:
    """Multiply colours by the texture, if there is one."""
    if surfaces.texture is None:
        return colours
    return colours * surfaces.texture.texels(hits, fragments.bary_coords)


def _check_lighting(surfaces: Surfaces, camera: Camera, light: Light, shininess: float) -> None:
    """Refuse what does not fit together, NaN, and an exponent that makes no highlight."""
    check_rows("camera", len(camera), surfaces)
    check_rows("light", len(light), surfaces)
    extrinsics, source = camera.world_to_camera, light.source
    check_kind("shading", "surfaces", surfaces.vertices, camera=extrinsics, light=source)
    check_not_nan("shading", camera=extrinsics, light=source)
    if not shininess > 0.0:
        raise ValueError(f"shininess must be more than 0, got {shininess}; PyTorch3D's is 64")


def _hits(fragments: Fragments, surfaces: Surfaces) -> HitPixels:
    """Return the pixels with fragments, which must be of these surfaces."""
    images = len(fragments.pix_to_face)
    if images != len(surfaces):
        raise ValueError(
            f"fragments must be of the {len(surfaces)} images that surfaces hold, got {images}; "
            "rasterize project_faces(surfaces, camera)"
        )
    return _hits_among(fragments, len(surfaces.faces), "surfaces")


def _hits_among(fragments: Fragments, num_faces: int, name: str) -> HitPixels:
    """Return the pixels with fragments, whose faces must be among ``num_faces``."""
    hits = HitPixels.of(fragments)
    last = int(hits.face.max()) if hits.face.numel() else -1
    if last >= num_faces:
        raise ValueError(
            f"{name} must hold all faces that the fragments show, got {num_faces} faces for "
            f"fragments of face {last}; give those that were rasterized"
        )
    return hits


def _eyes(camera: Camera) -> Float[Tensor, "camera 3"]:
    """Return where the cameras stand in the world.

    That is where three planes meet: those in which x, y and z in the camera's frame are 0. For a
    rotation it is -R^T t; this is right also for the gradient, which leaves the rotations.
    """
    extrinsics = seeing_cameras(camera)[0].world_to_camera[:, :3]
    x, y, z = extrinsics[..., :3].unbind(dim=1)
    offset = extrinsics[..., 3]
    edges = [torch.linalg.cross(*pair) for pair in ((y, z), (z, x), (x, y))]
    volume = (x * edges[0]).sum(dim=-1, keepdim=True)
    meeting = (torch.stack(edges, dim=-1) @ offset[..., None])[..., 0]
    return -meeting / torch.where(volume == 0.0, 1.0, volume)
