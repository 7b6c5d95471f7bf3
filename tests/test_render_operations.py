"""The operations of the fused path keep torch's rules."""

from dataclasses import replace

import pytest
import torch
from render_cases import layer_arguments
from test_render import tiny_scene
from test_render_layers_textured import paint

from air3d.render import cpu, directional_light
from air3d.render.cpu import layers, vertices
from air3d.render.instances import place


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
    torch.library.opcheck(
        layers._rasterize, layer_arguments(projected, projected.image_size, with_depth)
    )


def test_highlights_are_refused():
    scene = tiny_scene()
    shiny = directional_light((0.0, 0.0, 1.0), specular=0.2).to(dtype=torch.float64)
    with pytest.raises(ValueError, match="light must have no specular part"):
        type(scene)(**{**vars(scene), "light": shiny}).layers("cpu")
