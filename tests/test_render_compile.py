"""The operations of the fused path keep torch's rules, and compile into one graph."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from test_render import tiny_scene
from test_render_layers_textured import paint

from air3d.render import cpu, directional_light
from air3d.render.cpu import layers, vertices
from air3d.render.instances import place
from air3d.scene.spec import RenderSpec

COMPILED = """
import torch
from air3d.geometry import Camera, look_at, pinhole_intrinsics
from air3d.render import Instances, directional_light, render
from air3d.scene import MeshBank, RenderSpec, load_mesh

bank = MeshBank.pack([load_mesh("assets/meshes/red_cube.ply")])
eye, target = torch.tensor([0.0, -2.6, 1.9]), torch.tensor([0.0, 0.0, 0.1])
camera = Camera(look_at(eye, target)[None], pinhole_intrinsics(0.4, (20, 24))[None], (20, 24))
light, black, soft = directional_light((0.5, -0.4, 0.8)), torch.zeros(3), RenderSpec()
poses = torch.eye(4).repeat(2, 2, 1, 1)
poses[:, 1, 0, 3] = 0.3
scale = torch.ones(2, 2, requires_grad=True)

def image(poses, scale, identity):
    instances = Instances(identity, poses, scale)
    return render(bank, instances, camera, light=light, softness=soft, background=black)

compiled = torch.compile(image, fullgraph=True, backend="aot_eager")
identity = torch.zeros(2, 2, dtype=torch.int64)
results = []
for function in (image, compiled):
    rgb = function(poses.requires_grad_(), scale, identity)
    results.append((rgb, *torch.autograd.grad(rgb.square().sum(), [poses, scale])))
for value, truth in zip(*results):
    torch.testing.assert_close(value, truth)
try:
    compiled(poses, scale, identity + 5)
except ValueError as error:
    print(error)
"""


def test_rendering_compiles_into_one_graph():
    """In a process of its own, as the checks of shapes in these tests cannot be compiled."""
    result = subprocess.run(
        [sys.executable, "-c", COMPILED],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "identity must lie between -1 (absent) and 0" in result.stdout


def test_projecting_keeps_torchs_rules():
    scene = tiny_scene()
    placement = place(scene.instances, scene.camera, scene.light)
    fields = (placement.to_ndc, placement.source, placement.ambient, placement.diffuse)
    leaves = [part.detach().requires_grad_() for part in fields]
    bank = scene.bank
    meshes = (bank.vertices, bank.normals, bank.colours, bank.num_vertices)
    torch.library.opcheck(vertices._project, (*leaves, *meshes, placement.mesh))


@pytest.mark.parametrize("with_depth", [False, True])
@pytest.mark.parametrize("sizes", [[(0, 0)], [(4, 3)]], ids=["plain", "textured"])
def test_rasterizing_keeps_torchs_rules(sizes, with_depth):
    scene = tiny_scene()
    scene = replace(scene, bank=paint(scene.bank, sizes).to(dtype=torch.float64))
    projected = cpu.project(scene.bank, place(scene.instances, scene.camera, scene.light))
    arguments = (
        projected.vertices.detach().requires_grad_(),
        projected.colours.detach().requires_grad_(),
        projected.uvs.requires_grad_(),
        projected.textures.requires_grad_(),
        projected.texture_sizes,
        projected.faces,
        projected.num_faces,
        projected.mesh,
        list(projected.image_size),
        layers._settings(RenderSpec(), projected),
        with_depth,
    )
    torch.library.opcheck(layers._rasterize, arguments)


def test_highlights_are_refused():
    scene = tiny_scene()
    shiny = directional_light((0.0, 0.0, 1.0), specular=0.2).to(dtype=torch.float64)
    with pytest.raises(ValueError, match="light must have no specular part"):
        type(scene)(**{**vars(scene), "light": shiny}).layers("cpu")
