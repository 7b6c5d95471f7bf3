"""Scenes rendered otherwise than a model renders them: crisp, fine, and averaged down."""

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.data.disturbances import UNDISTURBED, Disturbances
from air3d.data.stream import SceneStream
from air3d.geometry import Camera
from air3d.render import render_scenes
from air3d.scene import RenderSpec, Scenes, SceneSpec

SIGMA, GAMMA = 1e-8, 1e-5
"""Softness of a crisp render: an edge's blur is a ten-thousandth of half the image, and no face
shows through a nearer one."""


class CrispStream(SceneStream):
    """The scenes of a :class:`SceneStream` of the same seed, rendered crisply.

    Each pixel is the mean of ``supersample`` x ``supersample`` smaller ones with sharp edges, as a
    camera's pixel gathers the light that falls on it; the noise is the same.

    Args:
        spec: the scene file; its softness is not used.
        supersample: how many times as many pixels are rendered, in both directions.
        batch, seed, disturbances: as of every stream.
    """

    def __init__(
        self,
        spec: SceneSpec,
        supersample: int,
        *,
        batch: int,
        seed: int,
        disturbances: Disturbances = UNDISTURBED,
    ):
        super().__init__(spec, batch=batch, seed=seed, disturbances=disturbances)
        self.supersample = supersample
        self._crisp = spec.model_copy(update={"render": crisp(spec.render)})

    def render(self, scenes: Scenes) -> Float[Tensor, "batch 3 height width"]:
        """Render scenes finely and average the pixels, without noise and without gradients."""
        fine = dataclasses.replace(scenes, camera=finer(scenes.camera, self.supersample))
        with torch.no_grad():
            images = render_scenes(self._crisp, self.bank, fine)
            return torch.nn.functional.avg_pool2d(images, self.supersample)


def crisp(softness: RenderSpec) -> RenderSpec:
    """Return the crisp version of a softness, with the same depths."""
    return softness.model_copy(update={"sigma": SIGMA, "gamma": GAMMA})


def finer(camera: Camera, times: int) -> Camera:
    """Return a camera that sees the same with ``times`` as many pixels in both directions."""
    height, width = camera.image_size
    scale = torch.tensor([times, times, 1.0]).to(camera.intrinsics)
    size = (times * height, times * width)
    return Camera(camera.world_to_camera, scale[:, None] * camera.intrinsics, size)
