"""The decoders: latents -> log p(x | h, z) of every hypothesis h about the discrete part."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from air3d.geometry import rigid_transform, yaw_rotation
from air3d.models.attention import paint_patch
from air3d.models.latents import Latents, PatchLatents, PoseLatents, windows_of
from air3d.models.patches import PatchDecoder
from air3d.objectives import NO_OBJECT
from air3d.render import Instances, light_of, render_layers, render_scenes
from air3d.render.composite import squared_error
from air3d.scene import Mesh, MeshBank, RenderSpec, Scenes, SceneSpec, camera_of


def gaussian_log_likelihood(
    images: Float[Tensor, "batch channel height width"],
    means: Float[Tensor, "batch hypothesis channel height width"],
    std: float,
) -> Float[Tensor, "batch hypothesis"]:
    """Return log N(x; mean, std^2 I) of each hypothesis' mean image, summed over pixels."""
    error = (means - images[:, None]).square().flatten(2).sum(dim=2)
    return _gaussian_log_density(error, images[0].numel(), std)


def _gaussian_log_density(
    squared_error: Float[Tensor, "batch hypothesis"], num_values: int, std: float
) -> Float[Tensor, "batch hypothesis"]:
    """Return log N(x; mean, std^2 I) of x with ``num_values`` numbers, from |x - mean|^2."""
    return -0.5 * squared_error / std**2 - num_values * math.log(std * math.sqrt(2 * math.pi))


class Decoder(nn.Module):
    """What turns latents into images and scores them.

    Attributes:
        noise_std: of the Gaussian likelihood.
    """

    noise_std: float

    def log_likelihood(
        self,
        images: Float[Tensor, "batch channel height width"],
        latents: Latents,
        hypotheses: Int[Tensor, "hypothesis step"],
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(x | h, z) of each hypothesis; gradients reach the latents."""
        raise NotImplementedError


class GlimpseDecoder(Decoder):
    """Paint each step's patch into its window and add the canvases up.

    Args:
        patch_decoder: z_what -> patch.
        image_size: (height, width).
        noise_std: of the Gaussian likelihood.
    """

    def __init__(self, patch_decoder: PatchDecoder, image_size: tuple[int, int], noise_std: float):
        super().__init__()
        self.patch_decoder = patch_decoder
        self.image_size = image_size
        self.noise_std = noise_std

    def prefixes(self, latents: PatchLatents) -> Float[Tensor, "batch count 1 height width"]:
        """Return the canvases of the first n patches, n = 0..N; gradients reach the latents."""
        batch, steps = latents.z_where.shape[:2]
        patches = self.patch_decoder(latents.z_what.flatten(0, 1))
        windows = windows_of(latents.z_where.flatten(0, 1), self.image_size)
        painted = paint_patch(patches, windows, self.image_size)
        painted = painted.reshape(batch, steps, *painted.shape[1:])
        empty = torch.zeros_like(painted[:, :1])
        return torch.cat([empty, painted.cumsum(dim=1)], dim=1)

    def log_likelihood(
        self,
        images: Float[Tensor, "batch 1 height width"],
        latents: PatchLatents,
        hypotheses: Int[Tensor, "hypothesis step"],
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(x | h, z) of each hypothesis; here one per prefix, in their order."""
        return gaussian_log_likelihood(images, self.prefixes(latents), self.noise_std)


class SceneDecoder(Decoder):
    """Render each step's candidates into layers and composite every hypothesis from them.

    The renderer has no CUDA backend yet: it renders on the CPU, whatever device the poses are
    on, and images and gradients go to and fro.

    Args:
        spec: the scene file: camera, light, background, softness, noise.
        meshes: its meshes.
    """

    def __init__(self, spec: SceneSpec, meshes: tuple[Mesh, ...]):
        super().__init__()
        self.spec = spec
        self.bank = MeshBank.pack(meshes)
        self.camera = camera_of(spec)
        self.noise_std = spec.noise_std
        self.background = torch.tensor(spec.background)

    def log_likelihood(
        self,
        images: Float[Tensor, "batch 3 height width"],
        latents: PoseLatents,
        hypotheses: Int[Tensor, "hypothesis step"],
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(x | h, z); gradients reach every candidate's position and yaw."""
        batch, steps, identities = latents.yaw.shape
        object_to_world = rigid_transform(yaw_rotation(latents.yaw), latents.position)
        candidates = torch.arange(identities).repeat(batch, steps)
        layers = render_layers(
            self.bank,
            Instances(candidates, object_to_world.flatten(1, 2).cpu()),
            self.camera,
            light=light_of(self.spec.light),
            softness=self.spec.render,
        )
        hypotheses = hypotheses.cpu()
        candidate = torch.arange(steps) * identities + hypotheses
        selection = torch.where(hypotheses == NO_OBJECT, NO_OBJECT, candidate)
        error = squared_error(layers, selection, self.background, images.movedim(1, -1).cpu())
        return _gaussian_log_density(error.to(images.device), images[0].numel(), self.noise_std)

    def image(
        self, scenes: Scenes, softness: RenderSpec | None = None
    ) -> Float[Tensor, "batch 3 height width"]:
        """Render whole scenes; gradients reach their positions and yaws.

        ``softness`` is the scene file's if none is given.
        """
        device = scenes.position.device
        spec = self.spec.model_copy(update={"render": softness or self.spec.render})
        return render_scenes(spec, self.bank, self.camera, scenes.to("cpu")).to(device)
