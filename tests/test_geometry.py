"""Frames, rigid transforms and cameras keep the promises of the page of conventions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from air3d.geometry import (
    Camera,
    invert_rigid,
    look_at,
    pinhole_intrinsics,
    pixel_rays,
    plane_log_det,
    project,
    rigid_transform,
    transform_points,
    unproject_to_plane,
    yaw_rotation,
)

coordinate = st.floats(-10.0, 10.0, allow_subnormal=False)
angle = st.floats(-math.pi, math.pi)
vector = st.tuples(coordinate, coordinate, coordinate)


def rigid(yaw: float, translation: tuple[float, float, float]) -> torch.Tensor:
    yaw_matrix = yaw_rotation(torch.tensor(yaw, dtype=torch.float64))
    # Tilted by a fixed rotation, so that the axioms are not only tried on turns about z.
    tilt = look_at(torch.tensor([1.0, 2.0, 3.0]).double(), torch.zeros(3).double())[:3, :3]
    return rigid_transform(tilt @ yaw_matrix, torch.tensor(translation, dtype=torch.float64))


@given(angle, vector)
def test_a_transform_times_its_inverse_is_the_identity(yaw, translation):
    a_to_b = rigid(yaw, translation)
    for product in (a_to_b @ invert_rigid(a_to_b), invert_rigid(a_to_b) @ a_to_b):
        torch.testing.assert_close(product, torch.eye(4).double(), atol=1e-12, rtol=0)


@given(angle, vector, angle, vector, vector)
def test_transforms_chain_like_their_matrices(yaw1, shift1, yaw2, shift2, point):
    a_to_b, b_to_c = rigid(yaw1, shift1), rigid(yaw2, shift2)
    points = torch.tensor([point], dtype=torch.float64)
    stepwise = transform_points(b_to_c, transform_points(a_to_b, points))
    torch.testing.assert_close(transform_points(b_to_c @ a_to_b, points), stepwise)


@given(angle, angle)
def test_yaws_add_up(first, second):
    a, b = torch.tensor([first, second], dtype=torch.float64)
    torch.testing.assert_close(yaw_rotation(a) @ yaw_rotation(b), yaw_rotation(a + b))


def test_a_quarter_turn_brings_x_to_y():
    quarter = yaw_rotation(torch.tensor(math.pi / 2, dtype=torch.float64))
    x, y, _ = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(quarter @ x, y, atol=1e-15, rtol=0)


@given(angle)
def test_rotations_keep_lengths_and_hands(yaw):
    rotation = rigid(yaw, (0.0, 0.0, 0.0))[:3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3).double(), atol=1e-12, rtol=0)
    assert torch.linalg.det(rotation) == pytest.approx(1.0)


def test_look_at_sees_its_target_straight_ahead_and_the_world_upright():
    eye, target = torch.tensor([1.0, -2.0, 1.5]), torch.tensor([0.2, 0.1, 0.0])
    world_to_camera = look_at(eye, target)
    points = torch.stack([eye, target, target + torch.tensor([0.0, 0.0, 0.1])])
    at_eye, at_target, above = transform_points(world_to_camera, points)
    torch.testing.assert_close(at_eye, torch.zeros(3), atol=1e-6, rtol=0)
    distance = float((target - eye).norm())
    torch.testing.assert_close(at_target, torch.tensor([0.0, 0.0, distance]), atol=1e-6, rtol=1e-6)
    assert above[1] < -0.01  # y points down: what is higher in the world has the lesser y
    assert above[0] == pytest.approx(0.0, abs=1e-6)


def test_x_points_right():
    # From -y, looking along +y with z up, the world's +x is on the right.
    world_to_camera = look_at(torch.tensor([0.0, -3.0, 1.0]), torch.zeros(3))
    seen = transform_points(world_to_camera, torch.tensor([[1.0, 0.0, 0.0]]))
    assert float(seen[0, 0]) == pytest.approx(1.0)


@pytest.mark.parametrize("target", [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0)])
def test_look_at_refuses_a_vertical_or_empty_view(target):
    with pytest.raises(ValueError, match="move eye sideways"):
        look_at(torch.tensor([0.0, 0.0, 2.0]), torch.tensor(target))


def test_project_agrees_with_a_point_reckoned_by_hand():
    # focal 100, centre (40, 30); the point is 2 m ahead, 0.5 m right, 0.25 m up.
    intrinsics = torch.tensor([[100.0, 0.0, 40.0], [0.0, 100.0, 30.0], [0.0, 0.0, 1.0]])
    camera = Camera(torch.eye(4)[None], intrinsics[None], (60, 80))
    seen = project(camera, torch.tensor([[[0.5, -0.25, 2.0]]]))
    torch.testing.assert_close(seen.pixels, torch.tensor([[[65.0, 17.5]]]))
    torch.testing.assert_close(seen.depth, torch.tensor([[2.0]]))


def test_the_field_of_view_spans_the_shorter_side():
    intrinsics = pinhole_intrinsics(0.8, (40, 60))
    camera = Camera(torch.eye(4)[None], intrinsics[None], (40, 60))
    edge = math.tan(0.4)
    seen = project(camera, torch.tensor([[[0.0, -edge, 1.0], [0.0, edge, 1.0], [0.0, 0.0, 1.0]]]))
    expected = torch.tensor([[[30.0, 0.0], [30.0, 40.0], [30.0, 20.0]]])
    torch.testing.assert_close(seen.pixels, expected, atol=1e-5, rtol=0)


def test_gradients_reach_points_and_pose():
    def pixels(eye: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        world_to_camera = look_at(eye, torch.zeros(3, dtype=torch.float64))
        intrinsics = pinhole_intrinsics(0.7, (32, 32)).double()
        return project(Camera(world_to_camera[None], intrinsics[None], (32, 32)), points).pixels

    eye = torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64, requires_grad=True)
    points = torch.tensor([[[0.1, 0.2, 0.3]]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pixels, (eye, points))


def test_a_camera_is_repeated_and_converted_whole():
    camera = Camera(torch.eye(4)[None], pinhole_intrinsics(0.7, (16, 24))[None], (16, 24))
    many = camera.expand(3).to(dtype=torch.float64)
    assert len(many) == 3 and many.image_size == (16, 24)
    assert many.world_to_camera.dtype == many.intrinsics.dtype == torch.float64


def a_camera() -> Camera:
    """Return a camera above the plane, off every axis, in double precision."""
    eye = torch.tensor([0.4, -2.0, 1.3], dtype=torch.float64)
    world_to_camera = look_at(eye, torch.tensor([0.1, 0.2, 0.0], dtype=torch.float64))
    return Camera(world_to_camera[None], pinhole_intrinsics(0.7, (32, 48)).double()[None], (32, 48))


def test_a_ray_leads_from_the_eye_to_what_is_seen():
    camera = a_camera()
    points = torch.tensor([[[0.3, 0.1, 0.2], [-0.4, 0.5, 0.0]]], dtype=torch.float64)
    seen = project(camera, points)
    eye = invert_rigid(camera.world_to_camera)[:, None, :3, 3]
    reached = eye + seen.depth[..., None] * pixel_rays(camera, seen.pixels)
    torch.testing.assert_close(reached, points)


@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.floats(0.0, 0.4))
def test_a_point_on_a_plane_survives_projection_and_back(x, y, height):
    camera = a_camera()
    points = torch.tensor([[[x, y, height]]], dtype=torch.float64)
    back = unproject_to_plane(camera, project(camera, points).pixels, points[..., 2])
    torch.testing.assert_close(back, points, atol=1e-9, rtol=1e-9)


def test_pixels_at_the_horizon_and_above_stay_finite():
    camera = a_camera()
    pixels = torch.tensor([[[24.0, -500.0], [24.0, 0.0]]], dtype=torch.float64)
    heights = torch.zeros(1, 2, dtype=torch.float64)
    assert bool(unproject_to_plane(camera, pixels, heights).isfinite().all())


def test_the_log_det_of_the_plane_is_that_of_the_derivative():
    camera = a_camera()
    point = torch.tensor([0.3, -0.2, 0.15], dtype=torch.float64)

    def pixel(xy: torch.Tensor) -> torch.Tensor:
        return project(camera, torch.cat([xy, point[2:]])[None, None]).pixels[0, 0]

    jacobian = torch.autograd.functional.jacobian(pixel, point[:2])
    expected = torch.linalg.det(jacobian).abs().log()
    torch.testing.assert_close(plane_log_det(camera, point[None, None])[0, 0], expected)


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("extrinsics", "intrinsics", "size", "message"),
    [
        ((4, 4), (3, 3), (8, 8), r"got \[4, 4\] and \[3, 3\]; a single camera is a batch of one"),
        ((1, 3, 4), (1, 3, 3), (8, 8), r"world_to_camera must be \[B, 4, 4\]"),
        ((1, 4, 4), (3, 3, 3), (8, 8), r"got \[1, 4, 4\] and \[3, 3, 3\]"),
        ((1, 4, 4), (1, 3, 3), (0, 8), r"two whole numbers from 1, got \(0, 8\)"),
        ((1, 4, 4), (1, 3, 3), (8.0, 8.0), r"two whole numbers from 1"),
    ],
)
def test_malformed_cameras_are_refused(extrinsics, intrinsics, size, message):
    with pytest.raises(ValueError, match=message):
        Camera(torch.zeros(extrinsics), torch.zeros(intrinsics), size)


def test_cameras_of_two_precisions_and_degrees_are_refused():
    with pytest.raises(ValueError, match="world_to_camera is torch.float64.*bring them together"):
        Camera(torch.zeros(1, 4, 4).double(), torch.zeros(1, 3, 3), (8, 8))
    with pytest.raises(ValueError, match="between 0 and pi radians, got 60; convert degrees"):
        pinhole_intrinsics(60.0, (64, 64))
