"""Crisp depth: against the reference, against geometry, and for what is not there."""

import math

import pytest
import torch
from render_cases import camera, coarse_meshes, random_scene

from air3d.geometry import project, rigid_transform, transform_points
from air3d.render import Instances, reference, render_depth
from air3d.render.instances import place
from air3d.scene import ABSENT, MeshBank


@pytest.mark.parametrize("seed", range(3))
def test_depth_agrees_with_the_reference(seed):
    scene = random_scene(seed, batch=2, objects=3, image_size=(24, 32))
    scene.identity[0, 1] = ABSENT
    depth = render_depth(scene.bank, scene.instances, scene.camera)
    placement = place(scene.instances, scene.camera, scene.light)
    truth = reference.depth(reference.project(scene.bank, placement)).reshape(depth.shape)
    assert torch.equal(depth.isfinite(), truth.isfinite())
    torch.testing.assert_close(depth, truth, rtol=1e-9, atol=0.0)
    assert not depth.requires_grad
    assert depth[0, 1].isinf().all()


def test_depth_of_a_sphere_is_where_its_rays_meet_it():
    """Within the sphere's facets; every pixel inside the outline is covered: no holes."""
    bank = MeshBank.pack(coarse_meshes()[1:2]).to(dtype=torch.float64)
    centre = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    pose = rigid_transform(torch.eye(3, dtype=torch.float64), centre)[None, None]
    view = camera((64, 80), field_of_view=0.2).to(dtype=torch.float64)
    depth = render_depth(bank, Instances(torch.zeros(1, 1, dtype=torch.int64), pose), view)[0, 0]
    v, u = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], dim=-1).double()
    rays = pixels @ torch.linalg.inv(view.intrinsics[0]).T
    middle = transform_points(view.world_to_camera[0], centre[None])[0]
    # |ray * depth - middle| = radius, the nearer of the two solutions.
    a, b, c = (rays**2).sum(-1), (rays * middle).sum(-1), (middle**2).sum() - 0.2**2
    discriminant = b**2 - a * c
    inside = discriminant > 0.1 * discriminant.max()
    truth = (b - discriminant.clamp(min=0.0).sqrt()) / a
    assert inside.sum() > 500
    error = depth[inside] - truth[inside]
    assert error.abs().max() < 0.03
    assert depth[discriminant < 0].isinf().all()


def test_depth_of_a_vertex_is_that_of_its_projection():
    """The nearest corner of a cube, before the pixel that it falls on."""
    scene = random_scene(8, batch=1, objects=1, image_size=(96, 96))
    scene.identity[:] = 0
    depth = render_depth(scene.bank, scene.instances, scene.camera)[0, 0]
    scaled = scene.scale[0, 0] * scene.bank.vertices[0, :24]
    corners = transform_points(scene.poses[0, 0], scaled).detach()
    seen = project(scene.camera, corners[None])
    nearest = int(seen.depth[0].argmin())
    column, row = seen.pixels[0, nearest].floor().int().tolist()
    assert math.isclose(depth[row, column].item(), seen.depth[0, nearest].item(), abs_tol=0.03)
