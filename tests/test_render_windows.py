"""Depth in windows: bit for bit what each window's own camera sees, also beyond the image."""

import pytest
import torch
from render_cases import random_scene

from air3d.geometry import Camera
from air3d.render import Instances, render_depth
from air3d.render.windows import render_depth_in_windows

WINDOWS = torch.tensor([[0, 0, 32, 24], [-7, 3, 5, 30], [9, 2, 10, 3], [4, 4, 21, 11]])


def objects_of(scene) -> tuple[Instances, Camera]:
    """Return a scene's objects, each before a camera of its own."""
    instances = scene.instances
    batch, number = instances.identity.shape
    row = torch.arange(batch).repeat_interleave(number) % len(scene.camera)
    each = (instances.identity, instances.object_to_world, instances.scale)
    identity, pose, scale = (part.flatten(0, 1)[:, None].detach() for part in each)
    return Instances(identity, pose, scale), scene.camera[row]


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_a_window_shows_what_its_own_camera_sees(precision):
    scene = random_scene(1, batch=2, objects=2, image_size=(24, 32)).to(precision)
    instances, camera = objects_of(scene)
    found = render_depth_in_windows(scene.bank, instances, camera, WINDOWS)
    assert sum(int(depth.isfinite().sum()) for depth in found) > 30
    for index, (left, top, right, bottom) in enumerate(WINDOWS.tolist()):
        one = slice(index, index + 1)
        intrinsics = camera.intrinsics[one].clone()
        intrinsics[:, 0, 2] -= left
        intrinsics[:, 1, 2] -= top
        window = Camera(camera.world_to_camera[one], intrinsics, (bottom - top, right - left))
        alone = Instances(
            instances.identity[one], instances.object_to_world[one], instances.scale[one]
        )
        assert torch.equal(found[index], render_depth(scene.bank, alone, window)[0, 0])


def test_no_objects_have_no_windows():
    scene = random_scene(0, batch=1, objects=1, image_size=(8, 8))
    instances, camera = objects_of(scene)
    none = Instances(instances.identity[:0], instances.object_to_world[:0], instances.scale[:0])
    assert render_depth_in_windows(scene.bank, none, camera[:0], WINDOWS[:0]) == []
