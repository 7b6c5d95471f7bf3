"""Rasterized, shaded and blended: against pictures and gradients that PyTorch3D 0.7.9 recorded."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from conftest import ROOT
from jaxtyping import Float
from render_cases import one_thread  # noqa: F401 (a fixture)
from shade_cases import clamped
from torch import Tensor

from air3d.geometry import Camera, rigid_transform
from air3d.render import Light, point_light
from air3d.render.blend import hard_rgb_blend, sigmoid_alpha_blend, softmax_rgb_blend
from air3d.render.fragments import Fragments
from air3d.render.rasterize import rasterize
from air3d.render.shade import gouraud_shading, phong_shading
from air3d.render.surfaces import Surfaces, pack_meshes, project_faces
from air3d.scene.spec import RenderSpec

CASES = sorted(path.stem for path in (ROOT / "tests" / "golden").glob("shade_*.npz"))
GRADIENTS = ("verts", "rgb", "R", "t")
pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Picture:
    """A recorded case as this renderer draws it, in float32 as it was recorded.

    Attributes:
        recorded: the arrays.
        inputs: what gradients were recorded for, in the order of ``GRADIENTS``.
        face_verts, fragments, rgba: on the way to the picture.
    """

    recorded: dict[str, Tensor]
    inputs: list[Tensor]
    face_verts: Float[Tensor, "face 3 3"]
    fragments: Fragments
    rgba: Float[Tensor, "image height width 4"]

    def gradients(self) -> list[Tensor]:
        loss = (self.rgba * self.recorded["upstream"]).sum()
        gradients = torch.autograd.grad(loss, self.inputs, allow_unused=True)
        pairs = zip(gradients, self.inputs, strict=True)
        return [torch.zeros_like(i) if g is None else g for g, i in pairs]


def draw(case: str) -> Picture:
    """Render the one mesh before all recorded cameras."""
    with np.load(ROOT / "tests" / "golden" / f"{case}.npz") as arrays:
        shader = str(arrays["shader"])
        recorded = {key: torch.tensor(arrays[key]) for key in arrays if key != "shader"}
    vertices, colours, rotation, translation = inputs = [
        recorded[key].requires_grad_() for key in ("verts", "verts_rgb", "R", "t")
    ]
    views = len(rotation)
    size = tuple(recorded["image_size"].tolist())
    camera = Camera(rigid_transform(rotation, translation), recorded["K"], size)
    meshes = ([vertices] * views, [recorded["faces"]] * views, [colours] * views)
    surfaces = pack_meshes(*meshes)
    face_verts = project_faces(surfaces, camera)
    fragments = rasterize(
        face_verts,
        surfaces.first_face,
        surfaces.num_faces,
        image_size=size,
        blur_radius=float(recorded["blur_radius"]),
        faces_per_pixel=int(recorded["faces_per_pixel"]),
    )
    rgba = blend(shader, recorded, fragments, surfaces, camera)
    return Picture(recorded, inputs, face_verts, fragments, rgba)


def blend(
    shader: str,
    recorded: dict[str, Tensor],
    fragments: Fragments,
    surfaces: Surfaces,
    camera: Camera,
) -> Float[Tensor, "image height width 4"]:
    """Do what PyTorch3D's shader of that name does."""
    softness = RenderSpec(
        sigma=float(recorded["sigma"]), gamma=float(recorded["gamma"]), near=1.0, far=100.0
    )
    if shader == "SoftSilhouette":
        white = torch.ones_like(fragments.bary_coords)
        return sigmoid_alpha_blend(white, fragments, sigma=softness.sigma)
    shading = gouraud_shading if shader.endswith("Gouraud") else phong_shading
    colours = shading(
        fragments, surfaces, camera, light_of(recorded), shininess=float(recorded["shininess"])
    )
    background = recorded["background"]
    if shader.startswith("Hard"):
        return hard_rgb_blend(colours, fragments, background=background)
    return softmax_rgb_blend(colours, fragments, softness=softness, background=background)


def light_of(recorded: dict[str, Tensor]) -> Light:
    strengths = {name: recorded[name] for name in ("ambient", "diffuse", "specular")}
    return point_light(recorded["light_location"], **strengths)


@pytest.mark.parametrize("case", CASES)
def test_picture(case):
    """Equal but for rounding; an ulp of a vertex may show as 1e-5 in alpha, as 1 / sigma is 1e4.

    On another machine matrix products may round otherwise by that ulp, here they do not.
    """
    picture = draw(case)
    difference = (picture.rgba - picture.recorded["rgba"]).abs()
    assert picture.rgba.dtype == torch.float32
    assert difference.max() < 3e-5
    assert difference.flatten().quantile(0.99) < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_gradients(case):
    """Equal, but at vertices of fragments whose perspective denominator PyTorch3D clamps.

    Where those dominate the recorded gradient of the camera, which sums over all fragments, that
    one is left out.
    """
    picture = draw(case)
    faces = picture.recorded["faces"]
    noisy = picture.fragments.pix_to_face[clamped(picture.face_verts, picture.fragments)]
    clean = torch.ones(len(picture.inputs[0]), dtype=torch.bool)
    clean[faces[noisy % len(faces)].flatten()] = False
    vertices = picture.recorded["grad_verts"]
    sane = bool(vertices.abs().max() < 10.0 * vertices[clean].abs().max())
    assert sane == (case != "shade_gouraud_wide") and clean.float().mean() > 0.8
    for name, gradient in zip(GRADIENTS, picture.gradients(), strict=True):
        truth = picture.recorded[f"grad_{name}"]
        if name == "verts":
            gradient, truth = gradient[clean], truth[clean]
        if name in ("verts", "rgb") or sane:
            assert (gradient - truth).abs().max() <= 1e-4 * truth.abs().max(), name
