"""Whatever finite geometry comes, images and gradients are finite (found out by hypothesis)."""

from dataclasses import replace

import hypothesis.extra.numpy as hnp
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from render_cases import SOFT, one_thread, tetrahedron  # noqa: F401 (a fixture)
from test_render import tiny_scene

from air3d.render import Instances, render
from air3d.scene import MeshBank
from air3d.scene.spec import RenderSpec

ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)
"""Every finite float32: huge, tiny, denormal, zero."""

NEAR = st.floats(-4.0, 4.0, width=32)
MIXED = st.one_of(NEAR, st.sampled_from([0.0, 1e-6, 1.0, 3.2, 1e3, 1e18, -1e30]), ANY)


def arrays(*shape: int, elements=MIXED):
    return hnp.arrays(np.float32, shape, elements=elements)


def assert_finite(bank: MeshBank, instances: Instances, scene, softness: RenderSpec) -> None:
    """Render, and look at every pixel and every gradient."""
    leaves = {
        "vertices": bank.vertices,
        "colours": bank.colours,
        "poses": instances.object_to_world,
        "scale": instances.scale,
        "world_to_camera": scene.camera.world_to_camera,
        "intrinsics": scene.camera.intrinsics,
        "source": scene.light.source,
        "ambient": scene.light.ambient,
    }
    image = render(
        bank,
        instances,
        scene.camera,
        light=scene.light,
        softness=softness,
        background=scene.background,
    )
    assert image.isfinite().all()
    gradients = torch.autograd.grad(image.sum(), list(leaves.values()), allow_unused=True)
    for name, gradient in zip(leaves, gradients, strict=True):
        assert gradient is None or gradient.isfinite().all(), name


def leaf(array: np.ndarray, *shape: int) -> torch.Tensor:
    return torch.from_numpy(array.copy()).reshape(shape).requires_grad_()


@settings(max_examples=150, deadline=None)
@given(vertices=arrays(4, 3), sharp=st.sampled_from([1e-6, 1e-4, 1e-2]))
def test_any_mesh(vertices, sharp):
    scene = tiny_scene().to(torch.float32)
    bank = replace(scene.bank, vertices=leaf(vertices, 1, 4, 3))
    softness = RenderSpec(sigma=sharp, gamma=sharp, near=1.0, far=10.0)
    assert_finite(bank, scene.instances, scene, softness)


@settings(max_examples=150, deadline=None)
@given(poses=arrays(1, 3, 3, 4), scale=arrays(1, 3))
def test_any_pose(poses, scale):
    scene = tiny_scene().to(torch.float32)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(1, 3, 1, 4)
    whole = torch.cat([torch.from_numpy(poses.copy()), bottom], dim=2).requires_grad_()
    instances = replace(scene.instances, object_to_world=whole, scale=leaf(scale, 1, 3))
    assert_finite(scene.bank, instances, scene, SOFT)


@settings(max_examples=150, deadline=None)
@given(extrinsics=arrays(1, 4, 4), intrinsics=arrays(1, 3, 3), source=arrays(1, 4))
def test_any_camera_and_lamp(extrinsics, intrinsics, source):
    scene = tiny_scene().to(torch.float32)
    camera = replace(
        scene.camera,
        world_to_camera=leaf(extrinsics, 1, 4, 4),
        intrinsics=leaf(intrinsics, 1, 3, 3),
    )
    light = replace(scene.light, source=leaf(source, 1, 4))
    assert_finite(scene.bank, scene.instances, replace(scene, camera=camera, light=light), SOFT)
