"""Images of a scene file's prior, numbered from 0, with BOP's annotations."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from air3d.data.bop.crisp import CrispStream
from air3d.data.bop.format import AnnotatedImage, to_uint8
from air3d.data.disturbances import UNDISTURBED, Disturbances
from air3d.data.stream import RenderedScenes, SceneStream
from air3d.geometry import Camera, project, transform_points
from air3d.render import Instances, render_depth
from air3d.scene import MeshBank, Scenes, SceneSpec

_MAX_CHUNK = 16
_CHUNK_PIXELS = 2**20


class AnnotatedScenes:
    """The images of a data set: number i depends on the scene file, the seed and i alone.

    The pixels are observations: the render plus the scene file's noise, clamped to [0, 1] and
    rounded to 8 bits, as a camera would. Depth, masks and areas are exact and without noise.

    Args:
        spec: the scene file.
        seed: of scenes and noise.
        supersample: 1 renders as the scene file says; n renders crisply n times as finely in both
            directions (see :class:`CrispStream`).
        disturbances: of the pixels and the light.
    """

    def __init__(
        self,
        spec: SceneSpec,
        seed: int,
        supersample: int = 1,
        disturbances: Disturbances = UNDISTURBED,
    ):
        height, width = spec.image_size
        self.chunk = max(1, min(_MAX_CHUNK, _CHUNK_PIXELS // (height * width)))
        self.stream = (
            SceneStream(spec, batch=self.chunk, seed=seed, disturbances=disturbances)
            if supersample == 1
            else CrispStream(
                spec, supersample, batch=self.chunk, seed=seed, disturbances=disturbances
            )
        )

    def images(self, start: int, stop: int) -> Iterator[AnnotatedImage]:
        """Yield images number ``start`` to ``stop - 1``."""
        for index in range(start // self.chunk, -(-stop // self.chunk)):
            rendered = self.stream.batch(index)
            first = index * self.chunk
            for number in range(max(start, first), min(stop, first + self.chunk)):
                yield self._annotate(rendered, number - first)

    def _annotate(self, rendered: RenderedScenes, row: int) -> AnnotatedImage:
        scene = rendered.scenes[row : row + 1].present()
        height, width = scene.camera.image_size
        large = np.full((scene.identity.shape[1], 3 * height, 3 * width), np.inf, dtype=np.float32)
        for index, canvas in enumerate(large):
            _paint_depth(canvas, self.stream.bank, scene, index)
        depths = large[:, height : 2 * height, width : 2 * width]
        nearest = depths.min(axis=0, initial=np.inf)
        return AnnotatedImage(
            rgb=to_uint8(rendered.images[row]),
            depth=nearest,
            scene=scene,
            silhouettes=large < np.inf,
            visible=(depths == nearest) & (depths < np.inf),
        )


def surround(camera: Camera) -> Camera:
    """Return a camera that sees one image further beyond each border."""
    height, width = camera.image_size
    return _window(camera, -width, -height, (3 * height, 3 * width))


def _window(camera: Camera, left: int, top: int, size: tuple[int, int]) -> Camera:
    """Return a camera that sees the ``size`` pixels from (left, top) of another's image."""
    intrinsics = camera.intrinsics.clone()
    intrinsics[:, 0, 2] -= left
    intrinsics[:, 1, 2] -= top
    return Camera(camera.world_to_camera, intrinsics, size)


def _paint_depth(
    canvas: Float[ndarray, "height width"], bank: MeshBank, scene: Scenes, index: int
) -> None:
    """Write one object's depth into ``canvas``, looking only where the object can be."""
    one = slice(index, index + 1)
    identity, pose = scene.identity[:, one], scene.object_to_world[:, one]
    camera, scale = surround(scene.camera), scene.scale[:, one]
    vertices = transform_points(pose[0, 0], scale * bank.meshes[int(identity)].vertices)
    seen = project(camera, vertices[None])
    low, high = torch.zeros(2), torch.tensor(canvas.shape[::-1], dtype=torch.float32)
    if bool((seen.depth > 0).all()):  # else projections do not bound the object
        low = seen.pixels[0].amin(dim=0).floor().clamp(low, high)
        high = seen.pixels[0].amax(dim=0).ceil().clamp(low, high)
    (left, top), (right, bottom) = low.int().tolist(), high.int().tolist()
    if left == right or top == bottom:
        return
    window = _window(camera, left, top, (bottom - top, right - left))
    depth = render_depth(bank, Instances(identity, pose, scale), window)
    canvas[top:bottom, left:right] = depth[0, 0].numpy()
