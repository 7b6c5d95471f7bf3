"""Images of a scene file's prior, numbered from 0, with BOP's annotations."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from torch import Tensor

from air3d.data.bop.crisp import CrispStream
from air3d.data.bop.format import AnnotatedImage, to_uint8
from air3d.data.bop.silhouettes import Silhouettes, find_silhouettes
from air3d.data.disturbances import UNDISTURBED, Disturbances
from air3d.data.prefetch import one_ahead
from air3d.data.stream import RenderedScenes, SceneStream
from air3d.scene import Scenes, SceneSpec

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
        """Yield images number ``start`` to ``stop - 1``; some more are in the making meanwhile."""
        for rendered, silhouettes in one_ahead(self._chunks(start, stop)):
            for row, found in enumerate(silhouettes):
                scene = rendered.scenes[row : row + 1].present()
                yield _annotated(rendered.images[row], scene, found)

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[RenderedScenes, list[Silhouettes]]]:
        """Yield the same, as many at a time as are drawn and rendered at once."""
        for index in range(start // self.chunk, -(-stop // self.chunk)):
            rendered, first = self.stream.batch(index), index * self.chunk
            wanted = slice(max(start - first, 0), min(stop - first, self.chunk))
            part = RenderedScenes(rendered.images[wanted], rendered.scenes[wanted])
            yield part, find_silhouettes(self.stream.bank, part.scenes)


def _annotated(
    image: Float[Tensor, "3 height width"], scene: Scenes, found: Silhouettes
) -> AnnotatedImage:
    """Round an image to 8 bits, and find what of its objects is visible."""
    nearest = found.depth.min(axis=0, initial=np.inf)
    return AnnotatedImage(
        rgb=to_uint8(image),
        depth=nearest,
        scene=scene,
        silhouettes=found.whole,
        visible=(found.depth == nearest) & (found.depth < np.inf),
    )
