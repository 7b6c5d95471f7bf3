"""Pinhole cameras in OpenCV's axes."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry.transforms import transform_points


@dataclass(frozen=True)
class Camera:
    """A batch of pinhole cameras that share one image size.

    Attributes:
        world_to_camera: extrinsics [B, 4, 4]; x right, y down, z forward.
        intrinsics: [B, 3, 3] in pixels; (0, 0) is the image's upper left corner, so the
            principal point of a centred camera is (width / 2, height / 2).
        image_size: (height, width) in pixels.
    """

    world_to_camera: Float[Tensor, "batch 4 4"]
    intrinsics: Float[Tensor, "batch 3 3"]
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.world_to_camera)

    def expand(self, batch: int) -> "Camera":
        """Repeat a single camera ``batch`` times, without a copy."""
        return Camera(
            self.world_to_camera.expand(batch, 4, 4),
            self.intrinsics.expand(batch, 3, 3),
            self.image_size,
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

    ``field_of_view`` (radians) spans the shorter side of ``image_size`` (height, width).
    """
    height, width = image_size
    focal = 0.5 * min(height, width) / math.tan(0.5 * field_of_view)
    return torch.tensor(
        [[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]]
    )


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
