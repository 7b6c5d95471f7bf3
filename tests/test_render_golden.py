"""The renderer against answers that PyTorch3D 0.7.9 gave (its inputs and outputs as arrays)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from render_cases import mesh, one_thread  # noqa: F401 (a fixture)

from air3d.geometry import Camera, rigid_transform
from air3d.render import Instances, Layers, ambient_light, render_layers
from air3d.scene import MeshBank
from air3d.scene.spec import RenderSpec

BACKENDS = ("reference", "cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
# Colours come lit from the test, as the recorded light is a point with highlights.
AMBIENT = ambient_light().to(dtype=torch.float64)


class Golden:
    """One recorded case, in this project's terms; float64 inputs that ask for gradients."""

    def __init__(self, name: str):
        path: Path = ROOT / "tests" / "golden" / f"{name}.npz"
        with np.load(path) as arrays:
            numbers = (key for key in arrays if key != "shader")
            self.recorded = {key: torch.tensor(arrays[key]) for key in numbers}
        self.vertices = self["verts"].requires_grad_()
        self.rotation = self["R"].requires_grad_()
        self.translation = self["t"].requires_grad_()
        size = tuple(self.recorded["image_size"].tolist())
        self.camera = Camera(rigid_transform(self.rotation, self.translation), self["K"], size)
        # The depths are those of PyTorch3D's softmax blending.
        self.softness = RenderSpec(
            sigma=float(self["sigma"]), gamma=float(self["gamma"]), near=1.0, far=100.0
        )

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.recorded[key].double()

    def layers(self, colours: torch.Tensor, backend: str) -> Layers:
        """Render the one mesh before both cameras."""
        faces = self.recorded["faces"].long()
        flat = mesh(self.vertices.float(), faces, colours.float(), torch.zeros(len(colours), 3))
        bank = MeshBank.pack([flat]).to(dtype=torch.float64)
        bank = replace(bank, vertices=self.vertices[None], colours=colours[None])
        poses = torch.eye(4, dtype=torch.float64).expand(2, 1, 4, 4)
        return render_layers(
            bank,
            Instances(torch.zeros(2, 1, dtype=torch.int64), poses),
            self.camera,
            light=AMBIENT,
            softness=self.softness,
            backend=backend,
        )


def relative(value: torch.Tensor, truth: torch.Tensor) -> float:
    return float((value - truth).abs().max() / truth.abs().max())


@pytest.mark.parametrize("backend", BACKENDS)
def test_silhouette_and_its_gradients(backend):
    """Alpha of a box, all of whose faces PyTorch3D kept; recorded in float32."""
    golden = Golden("shade_silhouette_box")
    layers = golden.layers(golden["verts_rgb"], backend)
    alpha = -torch.expm1(layers.log_transmittance[:, 0])
    torch.testing.assert_close(alpha, golden["rgba"][..., 3], rtol=0.0, atol=2e-5)
    inputs = (golden.vertices, golden.rotation, golden.translation)
    gradients = torch.autograd.grad((alpha * golden["upstream"][..., 3]).sum(), inputs)
    for name, gradient in zip(("grad_verts", "grad_R", "grad_t"), gradients, strict=True):
        assert relative(gradient, golden[name]) < 5e-5, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_gouraud_colours_and_their_gradient(backend):
    """Mean colour and alpha of a sphere, and the gradient of the vertices' own colours.

    PyTorch3D's gradients of the geometry carry the noise that this renderer repairs, and are
    left out. Its background weighs 1e-10, which shows in no digit here.
    """
    golden = Golden("shade_gouraud_ico")
    own_colours, loss = golden["verts_rgb"].requires_grad_(), 0.0
    for view in range(2):
        layers = golden.layers(lit_by_a_point(golden, own_colours, view), backend)
        alpha = -torch.expm1(layers.log_transmittance[view, 0])
        truth = golden["rgba"][view]
        torch.testing.assert_close(alpha, truth[..., 3], rtol=0.0, atol=2e-5)
        hit = layers.log_weight[view, 0].isfinite()
        colour = layers.colour[view, 0][hit]
        torch.testing.assert_close(colour, truth[..., :3][hit], rtol=0.0, atol=2e-5)
        loss = loss + (colour * golden["upstream"][view, ..., :3][hit]).sum()
    (gradient,) = torch.autograd.grad(loss, own_colours)
    assert relative(gradient, golden["grad_rgb"]) < 5e-5


def lit_by_a_point(golden: Golden, own_colours: torch.Tensor, view: int) -> torch.Tensor:
    """Light the vertices as PyTorch3D does: a point light, Phong's terms, one camera's view."""
    vertices, faces = golden.vertices.detach(), golden.recorded["faces"].long()
    a, b, c = vertices[faces].unbind(1)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(0, faces[:, corner], torch.linalg.cross(b - a, c - a))
    normals = torch.nn.functional.normalize(normals, dim=1)
    eye = -golden.rotation[view].detach().T @ golden.translation[view].detach()
    to_light = torch.nn.functional.normalize(golden["light_location"] - vertices, dim=1)
    to_eye = torch.nn.functional.normalize(eye - vertices, dim=1)
    cosine = (normals * to_light).sum(dim=1, keepdim=True)
    mirrored = 2 * cosine * normals - to_light
    shine = (mirrored * to_eye).sum(dim=1, keepdim=True).clamp(min=0.0) * (cosine > 0)
    diffuse = golden["diffuse"] * cosine.clamp(min=0.0)
    specular = golden["specular"] * shine ** golden["shininess"]
    return own_colours * (golden["ambient"] + diffuse) + specular
