"""What each object would show if it were alone, looked for only where the object can be."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from air3d.geometry import Camera, project, transform_points
from air3d.render import Instances
from air3d.render.windows import render_depth_in_windows
from air3d.scene import ABSENT, MeshBank, Scenes


@dataclass(frozen=True)
class Silhouettes:
    """The n objects of an image, each by itself.

    Attributes:
        whole: [n, 3H, 3W]; what each covers, on a canvas that reaches one image beyond each border.
        depth: metres [n, H, W]; inf where it covers nothing.
    """

    whole: Bool[ndarray, "object large_height large_width"]
    depth: Float[ndarray, "object height width"]


def find_silhouettes(bank: MeshBank, scenes: Scenes) -> list[Silhouettes]:
    """Render every object of a batch of scenes by itself, all of them at once; none is absent."""
    row, slot = (scenes.identity != ABSENT).nonzero(as_tuple=True)
    camera = surround(scenes.camera[row])
    objects = Instances(
        scenes.identity[row, slot][:, None],
        scenes.object_to_world[row, slot][:, None],
        scenes.scale[row, slot][:, None],
    )
    boxes = _boxes(bank, objects, camera)
    depths = render_depth_in_windows(bank, objects, camera, boxes)
    found = iter(zip(boxes.tolist(), depths, strict=True))
    size = scenes.camera.image_size
    return [_painted([next(found) for _ in range(count)], size) for count in scenes.count.tolist()]


def surround(camera: Camera) -> Camera:
    """Return cameras that see one image further beyond each border."""
    height, width = camera.image_size
    beyond = camera.intrinsics.new_tensor([[0.0, 0.0, width], [0.0, 0.0, height], [0.0, 0.0, 0.0]])
    return Camera(camera.world_to_camera, camera.intrinsics + beyond, (3 * height, 3 * width))


def _boxes(bank: MeshBank, objects: Instances, camera: Camera) -> Int[Tensor, "object 4"]:
    """Return (left, top, right, bottom) of where each object can be in its camera's image.

    At least one pixel, also of what is not in the image.
    """
    identity = objects.identity[:, 0]
    assert objects.scale is not None, "scenes have scales"
    vertices = objects.scale[..., None] * bank.vertices[identity]
    seen = project(camera, transform_points(objects.object_to_world[:, 0], vertices))
    padding = torch.arange(vertices.shape[1]) >= bank.num_vertices[identity][:, None]
    size = seen.pixels.new_tensor(camera.image_size[::-1])
    low = seen.pixels.masked_fill(padding[..., None], torch.inf).amin(dim=1).floor()
    high = seen.pixels.masked_fill(padding[..., None], -torch.inf).amax(dim=1).ceil()
    # Where part of an object is behind the camera, projections do not bound it.
    bounded = ((seen.depth > 0) | padding).all(dim=1)[:, None]
    low = torch.where(bounded, torch.minimum(low.clamp(min=0.0), size - 1), 0.0)
    high = torch.where(bounded, torch.maximum(torch.minimum(high, size), low + 1), size)
    return torch.cat([low, high], dim=1).int()


def _painted(own: list[tuple[list[int], Tensor]], image_size: tuple[int, int]) -> Silhouettes:
    """Put the windows of one image's objects, and their depths, where they belong."""
    height, width = image_size
    whole = np.zeros((len(own), 3 * height, 3 * width), dtype=bool)
    depth = np.full((len(own), height, width), np.inf, dtype=np.float32)
    for index, ((left, top, right, bottom), window) in enumerate(own):
        part = window.numpy()
        whole[index, top:bottom, left:right] = part < np.inf
        first_row, first_column = max(top, height), max(left, width)
        rows = slice(first_row, max(first_row, min(bottom, 2 * height)))
        columns = slice(first_column, max(first_column, min(right, 2 * width)))
        depth[index][_moved(rows, height), _moved(columns, width)] = part[
            _moved(rows, top), _moved(columns, left)
        ]
    return Silhouettes(whole, depth)


def _moved(part: slice, origin: int) -> slice:
    """Count a range from another origin."""
    return slice(part.start - origin, part.stop - origin)
