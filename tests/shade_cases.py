"""Small surfaces that the tests of shading share."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from render_cases import tetrahedron
from torch import Tensor

from air3d.geometry import Camera, look_at, pinhole_intrinsics
from air3d.render import Light, point_light
from air3d.render.fragments import Fragments, pixel_centres
from air3d.render.layers import blur_radius
from air3d.render.rasterize import rasterize
from air3d.render.surfaces import Surfaces, pack_meshes, project_faces, with_texture
from air3d.scene.spec import RenderSpec

SOFT = RenderSpec(sigma=3e-3, gamma=2e-2, near=1.0, far=10.0)


@dataclass(frozen=True)
class Shot:
    """Surfaces, what lights them and who looks at them: two images of 12 x 16 pixels, float64."""

    surfaces: Surfaces
    camera: Camera
    light: Light
    background: Float[Tensor, "3"]

    def fragments(self, faces_per_pixel: int = 8, softness: RenderSpec = SOFT) -> Fragments:
        return rasterize(
            project_faces(self.surfaces, self.camera),
            self.surfaces.first_face,
            self.surfaces.num_faces,
            image_size=self.camera.image_size,
            blur_radius=blur_radius(softness.sigma),
            faces_per_pixel=faces_per_pixel,
        )


def inputs(*, seed: int = 0) -> dict[str, Tensor]:
    """Return all that a shot of textured tetrahedra hangs on, by name."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    size = (12, 16)
    eyes = torch.tensor([[-1.2, -1.5, 1.1], [1.4, -1.4, -0.9]])
    world_to_camera = look_at(eyes, torch.tensor([[0.05, 0.0, 0.1], [0.0, 0.1, 0.0]])).double()
    light = point_light((-0.1, -2.0, 0.5), ambient=0.4, diffuse=0.5, specular=0.3)
    light = light.to(dtype=torch.float64)
    intrinsics = pinhole_intrinsics(0.45, size).double()
    intrinsics[:2, 2] += torch.tensor([0.7, -0.4])
    return {
        "vertices": torch.stack([tetrahedron().vertices.double() + 0.1 * random(4, 3)] * 2),
        "colours": random(2, 4, 3),
        "maps": random(2, 3, 4, 3),
        "verts_uvs": 1.6 * random(6, 2) - 0.3,
        "world_to_camera": world_to_camera,
        "intrinsics": intrinsics.repeat(2, 1, 1),
        "source": light.source,
        "ambient": light.ambient,
        "diffuse": light.diffuse,
        "specular": light.specular,
        "background": random(3),
    }


def shot(values: dict[str, Tensor]) -> Shot:
    """Put the inputs together."""
    faces = tetrahedron().faces
    surfaces = pack_meshes(list(values["vertices"]), [faces] * 2, list(values["colours"]))
    faces_uvs = torch.tensor([[0, 1, 2], [3, 4, 5], [5, 0, 3], [2, 4, 1]] * 2)
    return Shot(
        with_texture(surfaces, values["maps"], values["verts_uvs"], faces_uvs),
        Camera(values["world_to_camera"], values["intrinsics"], (12, 16)),
        Light(*(values[name] for name in ("source", "ambient", "diffuse", "specular"))),
        values["background"],
    )


def plain(view: Shot) -> Shot:
    """Return the same shot without the texture."""
    return replace(view, surfaces=replace(view.surfaces, texture=None))


def clamped(
    face_verts: Float[Tensor, "face 3 3"], fragments: Fragments
) -> Bool[Tensor, "image height width fragment"]:
    """Return which fragments' perspective denominator is clamped.

    Float32 makes noise of PyTorch3D's gradient there.
    """
    exists = fragments.pix_to_face >= 0
    height, width = exists.shape[1:3]
    _, row, column, _ = exists.nonzero().unbind(dim=1)
    x = pixel_centres(width, height, torch.float64)[column]
    y = pixel_centres(height, width, torch.float64)[row]
    pixel = torch.stack([x, y], dim=1)
    corners = face_verts.detach().double()[fragments.pix_to_face[exists]]
    a, b, c = corners[..., :2].unbind(dim=1)
    z0, z1, z2 = corners[..., 2].unbind(dim=1)
    weights = _cross(b, c, pixel) * z1 * z2 + _cross(c, a, pixel) * z0 * z2
    weights = weights + _cross(a, b, pixel) * z0 * z1
    return exists.masked_scatter(exists, weights / _cross(a, b, c) <= 1e-8)


def _cross(a: Tensor, b: Tensor, p: Tensor) -> Tensor:
    along, to = b - a, p - a
    return along[:, 0] * to[:, 1] - along[:, 1] * to[:, 0]
