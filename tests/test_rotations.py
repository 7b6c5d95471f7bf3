"""Rotations by vectors, at random and spread evenly, and the axes of lines of sight."""

import math

import pytest
import torch

from air3d.geometry import (
    Camera,
    angle_of,
    angles_after,
    look_at,
    pinhole_intrinsics,
    pixel_rays,
    random_rotations,
    rotation_of,
    sight_frames,
    spread_rotations,
    yaw_rotation,
)

RANDOM = torch.Generator().manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=RANDOM, dtype=torch.float64)


def test_a_vector_turns_about_its_direction_by_its_length():
    vector = draw(50, 3)
    rotation, length = rotation_of(vector), vector.norm(dim=-1)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).double().expand(50, 3, 3))
    torch.testing.assert_close((rotation @ vector[..., None])[..., 0], vector)
    folded = (length - 2 * math.pi * (length / (2 * math.pi)).round()).abs()
    torch.testing.assert_close(angle_of(rotation), folded)
    torch.testing.assert_close(rotation_of(0.3 * vector) @ rotation_of(0.7 * vector), rotation)
    yaw = torch.tensor([0.0, 0.0, 0.7])
    torch.testing.assert_close(rotation_of(yaw), yaw_rotation(yaw[2]))


def test_small_turns_have_their_gradients_also_at_zero():
    vectors = torch.cat([torch.zeros(1, 3), 1e-4 * torch.eye(3), torch.ones(1, 3)]).double()
    assert torch.autograd.gradcheck(rotation_of, vectors.requires_grad_(), eps=1e-7, atol=1e-6)
    exact = torch.tensor([1e-6, 0.0, 0.0], dtype=torch.float64)
    assert float(angle_of(rotation_of(exact))) == pytest.approx(1e-6, rel=1e-6)


def test_angles_after_turns_are_those_of_the_products():
    rotation, turns = rotation_of(draw(4, 5, 3)), rotation_of(draw(6, 3))
    angles = angles_after(rotation, turns)
    torch.testing.assert_close(angles, angle_of(rotation[..., None, :, :] @ turns))
    assert torch.autograd.gradcheck(angles_after, (rotation[0].requires_grad_(), turns))


def test_random_rotations_are_uniform():
    """A uniform rotation's angle has the density (1 - cos a) / pi, whatever it is turned by."""
    drawn = random_rotations((20000,), torch.Generator().manual_seed(1)) @ rotation_of(
        torch.tensor([0.4, -1.0, 0.3])
    )
    angle = angle_of(drawn).sort().values
    share = (angle - angle.sin()) / math.pi
    gap = (share - torch.arange(len(share)) / len(share)).abs().max()
    assert float(gap) < 2.2 / math.sqrt(len(share))
    assert drawn.mean(dim=0).abs().max() < 4.5 / math.sqrt(3 * len(share))


@pytest.mark.parametrize("number", [24, 96])
def test_spread_rotations_leave_no_large_holes(number):
    """Balls of this radius about them would fill all rotations at least four times over."""
    spread = spread_rotations(number)
    away = angle_of(spread.mT @ rotation_of(draw(4000, 1, 3))).amin(dim=1).max()
    radius = (4 * 6 * math.pi / number) ** (1 / 3)
    assert len(spread) == number and float(away) < radius
    torch.testing.assert_close(torch.linalg.det(spread), torch.ones(number).double())


def test_the_axes_of_a_line_of_sight_are_the_cameras_turned_the_shortest_way():
    eye = torch.tensor([[1.0, -2.0, 1.5]], dtype=torch.float64)
    intrinsics = pinhole_intrinsics(0.8, (48, 64)).double()[None]
    camera = Camera(look_at(eye, torch.zeros_like(eye)), intrinsics, (48, 64))
    pixels = torch.tensor([[[32.0, 24.0], [3.0, 40.0], [60.0, 1.0]]], dtype=torch.float64)
    frames, rays = sight_frames(camera, pixels)[0], pixel_rays(camera, pixels)[0]
    to_world = camera.world_to_camera[0, :3, :3].T
    torch.testing.assert_close(frames[0], to_world)
    torch.testing.assert_close(frames @ frames.mT, torch.eye(3).double().expand(3, 3, 3))
    forward = rays / rays.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(frames[..., 2], forward)
    between = torch.acos((forward * to_world[:, 2]).sum(dim=-1).clamp(max=1.0))
    torch.testing.assert_close(angle_of(to_world.T @ frames), between, atol=1e-7, rtol=1e-6)
