"""An endless stream of scenes drawn from a scene file's prior and rendered."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.data.disturbances import UNDISTURBED, Disturbances
from air3d.randomness import own_generator
from air3d.render import render_scenes
from air3d.scene import MeshBank, ScenePrior, Scenes, SceneSpec, load_assets


@dataclass(frozen=True)
class RenderedScenes:
    """Images and the scenes that made them.

    Attributes:
        images: [B, 3, H, W]; the render lies in [0, 1] (up to rounding), since colours do and the
            strengths of light sum to at most 1; noise may lead out of it.
        scenes: B scenes, for evaluation; training on unlabelled images does not look at them.
    """

    images: Float[Tensor, "batch 3 height width"]
    scenes: Scenes

    def __len__(self) -> int:
        return len(self.images)


class SceneStream:
    """Fresh samples of p(image, scene): the prior, the renderer, Gaussian pixel noise.

    Batch number ``index`` depends on the scene file, the batch size, ``seed`` and ``index``
    alone, so a resumed training sees exactly the batches that an uninterrupted one sees.
    Images are what the likelihood assumes: the render plus noise of standard deviation
    ``spec.noise_std``, *not* clamped to [0, 1]. ``disturbances`` change that; the objects, the
    cameras and the noise before it is multiplied stay those of the same seed.

    Attributes:
        spec: the scene file.
        meshes, bank: its meshes.
        prior: p(scene).

    Raises:
        MeshFileError: a mesh of the scene file cannot be used.
    """

    def __init__(
        self,
        spec: SceneSpec,
        *,
        batch: int,
        seed: int,
        disturbances: Disturbances = UNDISTURBED,
    ):
        if batch < 1 or seed < 0:
            raise ValueError(
                f"SceneStream: batch must be at least 1 and seed at least 0, got {batch}, {seed}"
            )
        self.spec = spec
        self.batch_size = batch
        self.seed = seed
        self.disturbances = disturbances
        self.meshes = load_assets(spec)
        self.bank = MeshBank.pack(self.meshes)
        self.prior = ScenePrior(spec, self.meshes)

    def batch(self, index: int) -> RenderedScenes:
        """Draw and render batch number ``index`` on the CPU; nothing carries gradients."""
        generator = own_generator(self.seed, index)
        scenes = self.prior.sample(self.batch_size, generator)
        disturb = self.disturbances
        if disturb:
            disturbing = own_generator(self.seed, index, 1)
            scenes = disturb.relit(scenes, disturbing)
            clean = disturb.disturbed(self.render(scenes), disturbing)
        else:
            clean = self.render(scenes)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = clean + disturb.noise * self.spec.noise_std * noise
        return RenderedScenes(disturb.developed(noisy), scenes)

    def render(self, scenes: Scenes) -> Float[Tensor, "batch 3 height width"]:
        """Render scenes as the scene file says, without noise and without gradients."""
        with torch.no_grad():
            return render_scenes(self.spec, self.bank, scenes).contiguous()

    def __iter__(self) -> Iterator[RenderedScenes]:
        """Yield batches 0, 1, 2, ... without end."""
        return (self.batch(index) for index in itertools.count())
