"""Pinhole cameras in OpenCV's axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from air3d.geometry.tensors import constant
from air3d.geometry.transforms import invert_rigid, transform_points


@dataclass(frozen=True)
class Camera:
    """A batch of pinhole cameras that share one image size.

    Attributes:
        world_to_camera: extrinsics [B, 4, 4]; x right, y down, z forward.
        intrinsics: [B, 3, 3] in pixels; (0, 0) is the image's upper left corner, so the
            principal point of a centred camera is (width / 2, height / 2).
        image_size: (height, width) in pixels.

    Raises:
        ValueError: shapes, precisions or devices do not fit together.
    """

    world_to_camera: Float[Tensor, "batch 4 4"]
    intrinsics: Float[Tensor, "batch 3 3"]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        extrinsics, intrinsics = self.world_to_camera, self.intrinsics
        if extrinsics.shape != (len(intrinsics), 4, 4) or intrinsics.shape[1:] != (3, 3):
            raise ValueError(
                "Camera: world_to_camera must be [B, 4, 4] and intrinsics [B, 3, 3], got "
                f"{list(extrinsics.shape)} and {list(intrinsics.shape)}; a single camera is a "
                "batch of one, as matrix[None] is"
            )
        if (extrinsics.dtype, extrinsics.device) != (intrinsics.dtype, intrinsics.device):
            raise ValueError(
                f"Camera: world_to_camera is {extrinsics.dtype} on {extrinsics.device} but "
                f"intrinsics is {intrinsics.dtype} on {intrinsics.device}; bring them together by "
                ".to()"
            )
        if len(self.image_size) != 2 or not all(
            isinstance(side, int) and side > 0 for side in self.image_size
        ):
            raise ValueError(
                "Camera: image_size must be (height, width), two whole numbers from 1, got "
                f"{self.image_size}"
            )

    def __len__(self) -> int:
        return len(self.world_to_camera)

    def __getitem__(self, rows: slice | Shaped[Tensor, " row"]) -> "Camera":
        """Return some of the cameras, as a batch."""
        return Camera(self.world_to_camera[rows], self.intrinsics[rows], self.image_size)

    @classmethod
    def concatenate(cls, several: Sequence["Camera"]) -> "Camera":
        """Put cameras of one image size into one batch; at least one."""
        return cls(
            torch.cat([camera.world_to_camera for camera in several]),
            torch.cat([camera.intrinsics for camera in several]),
            several[0].image_size,
        )

    def expand(self, batch: int) -> "Camera":
        """Repeat a single camera ``batch`` times, without a copy."""
        return Camera(
            self.world_to_camera.expand(batch, 4, 4),
            self.intrinsics.expand(batch, 3, 3),
            self.image_size,
        )

    def halved(self, times: int) -> "Camera":
        """Return the same cameras with images of half the size, ``times`` times.

        An odd last row or column is left out.
        """
        height, width = self.image_size
        scale = constant([0.5**times, 0.5**times, 1.0], self.intrinsics)
        return Camera(
            self.world_to_camera,
            self.intrinsics * scale[:, None],
            (height >> times, width >> times),
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        """Return the same cameras on another device or in another precision."""
        return Camera(
            self.world_to_camera.to(device=device, dtype=dtype),
            self.intrinsics.to(device=device, dtype=dtype),
            self.image_size,
        )


def pinhole_intrinsics(field_of_view: float, image_size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    """Return the intrinsics of a centred camera with square pixels.

    ``field_of_view`` (radians, between 0 and pi) spans the shorter side of ``image_size`` (height,
    width).

    Raises:
        ValueError: the field of view is not between 0 and pi.
    """
    if not 0.0 < field_of_view < math.pi:
        raise ValueError(
            "pinhole_intrinsics: field_of_view must lie between 0 and pi radians, got "
            f"{field_of_view:g}; convert degrees by math.radians"
        )
    height, width = image_size
    focal = 0.5 * min(height, width) / math.tan(0.5 * field_of_view)
    return torch.tensor([[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Projection:
    """Points seen by a camera: ``pixels`` [B, P, 2] (u, v) and ``depth`` [B, P] in metres."""

    pixels: Float[Tensor, "batch point 2"]
    depth: Float[Tensor, "batch point"]


def project(camera: Camera, points: Float[Tensor, "batch point 3"]) -> Projection:
    """Project world points into the image; gradients reach the points and the camera.

    Points in the camera's plane or behind it have no image: their pixels are not finite or
    mirrored, so look at ``depth`` before using them.
    """
    in_camera = transform_points(camera.world_to_camera, points)
    homogeneous = in_camera @ camera.intrinsics.transpose(-1, -2)
    depth = in_camera[..., 2]
    return Projection(homogeneous[..., :2] / depth[..., None], depth)


def pixel_rays(
    camera: Camera, pixels: Float[Tensor, "batch point 2"]
) -> Float[Tensor, "batch point 3"]:
    """Return the world direction in which each pixel looks, at unit depth along the camera's z.

    ``eye + depth * ray`` is the point at that depth. Gradients reach the pixels and the camera.
    """
    return _camera_rays(camera, pixels) @ camera.world_to_camera[:, :3, :3]


def _camera_rays(
    camera: Camera, pixels: Float[Tensor, "batch point 2"]
) -> Float[Tensor, "batch point 3"]:
    """Return the direction in which each pixel looks in the camera's axes, with z = 1."""
    # By hand: LAPACK inverts a batch of 3x3 matrices one by one.
    (focal_x, skew, u), (_, focal_y, v) = (
        row[..., None].unbind(dim=1) for row in camera.intrinsics[:, :2].unbind(dim=1)
    )
    y = (pixels[..., 1] - v) / focal_y
    x = (pixels[..., 0] - u - skew * y) / focal_x
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def sight_frames(
    camera: Camera, pixels: Float[Tensor, "batch point 2"]
) -> Float[Tensor, "batch point 3 3"]:
    """Return the camera's axes turned, by the shortest way, until z is a pixel's line of sight.

    The columns are right, down and forward in the world. An object with the same rotation in these
    axes looks much the same wherever it is in the image. Gradients reach the pixels and the camera.
    """
    forward = _camera_rays(camera, pixels)
    x, y, z = (forward / torch.linalg.vector_norm(forward, dim=-1, keepdim=True)).unbind(dim=-1)
    # Rodrigues' formula about the cross product of (0, 0, 1) and (x, y, z).
    shared = -x * y / (1 + z)
    rows = [1 - x * x / (1 + z), shared, x, shared, 1 - y * y / (1 + z), y, -x, -y, z]
    to_world = camera.world_to_camera[:, None, :3, :3].mT
    return to_world @ torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def sight_azimuths(frames: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Return the azimuths (radians) of the lines of sight that ``sight_frames`` are about."""
    return torch.atan2(frames[..., 1, 2], frames[..., 0, 2])


def unproject_to_plane(
    camera: Camera, pixels: Float[Tensor, "batch point 2"], height: Float[Tensor, "batch point"]
) -> Float[Tensor, "batch point 3"]:
    """Return where each pixel's ray meets the plane z = ``height`` (world, metres).

    A ray that does not come down to the plane, as at the horizon or above it, is bent down just
    enough to meet it far away, so that the result is finite. Gradients reach all arguments.
    """
    ray = pixel_rays(camera, pixels)
    eye = invert_rigid(camera.world_to_camera)[:, None, :3, 3]
    drop = (eye[..., 2] - height).clamp(min=1e-6)
    descent = (-ray[..., 2]).clamp(min=1e-3)
    points = eye + (drop / descent)[..., None] * ray
    return torch.cat([points[..., :2], height[..., None]], dim=-1)


def plane_log_det(
    camera: Camera, points: Float[Tensor, "batch point 3"]
) -> Float[Tensor, "batch point"]:
    """Return log |det d(u, v) / d(x, y)| for world points that move in their plane z = const.

    The map is the homography H = K [r1 r2 (z r3 + t)], whose determinant of derivatives is
    det(H) / depth^3. Gradients reach the points and the camera.
    """
    rotation, translation = camera.world_to_camera[:, :3, :3], camera.world_to_camera[:, :3, 3]
    offset = points[..., 2, None] * rotation[:, None, :, 2] + translation[:, None]
    normal = torch.linalg.cross(rotation[..., 0], rotation[..., 1])[:, None]
    area = (normal * offset).sum(dim=-1) * camera.intrinsics[:, None, [0, 1], [0, 1]].prod(dim=-1)
    log_det = area.abs().log()
    depth = transform_points(camera.world_to_camera, points)[..., 2]
    return log_det - 3 * depth.abs().log()
