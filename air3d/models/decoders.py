"""The decoders: latents -> log p(x | h, z) of every hypothesis h about the discrete part."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from air3d.geometry import rigid_transform
from air3d.models.attention import paint_patch
from air3d.models.canvas import Canvas
from air3d.models.exposure import Exposure
from air3d.models.latents import PatchLatents, PoseLatents, windows_of
from air3d.models.pull_in import Sharpness
from air3d.models.unrolled import Unrolled
from air3d.objectives import NO_OBJECT
from air3d.render import (
    Instances,
    Layers,
    Painting,
    behind_objects,
    render_layers,
    render_scenes,
)
from air3d.render.composite import join, squared_error
from air3d.render.images import Background
from air3d.scene import ABSENT, Mesh, MeshBank, RenderSpec, Scenes, SceneSpec, View


def gaussian_log_likelihood(
    images: Float[Tensor, "batch channel height width"],
    means: Float[Tensor, "batch hypothesis channel height width"],
    std: float,
) -> Float[Tensor, "batch hypothesis"]:
    """Return log N(x; mean, std^2 I) of each hypothesis' mean image, summed over pixels."""
    error = _summed_squares(images, means)
    return _gaussian_log_density(error, images.shape[1:].numel(), std)


def _summed_squares(
    images: Float[Tensor, "batch channel height width"],
    means: Float[Tensor, "batch hypothesis channel height width"],
) -> Float[Tensor, "batch hypothesis"]:
    # In the renderers' memory layout, and multiplied with itself without a further image.
    wanted = images.movedim(1, -1).contiguous()[:, None]
    missing = (means.movedim(2, -1) - wanted).flatten(2)
    return (missing[..., None, :] @ missing[..., None])[..., 0, 0]


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
        unrolled: Unrolled,
        hypotheses: Int[Tensor, "hypothesis step"],
        drawn: Int[Tensor, "batch step"],
        exposure: Exposure | None = None,
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(x | h, z) of each hypothesis; gradients reach the latents and the view.

        Args:
            images: x.
            unrolled: z, for every identity.
            hypotheses: rows of identities, ``NO_OBJECT``, or the number of identities, which
                stands for the one that was ``drawn``.
            drawn: an identity of each step.
            exposure: of a camera that the scene file does not know; None: x is a render with
                noise of ``noise_std``.
        """
        raise NotImplementedError

    def _log_density(
        self,
        squared_error: Float[Tensor, "batch hypothesis"],
        images: Float[Tensor, "batch channel height width"],
        exposure: Exposure | None,
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(x | h, z) from the squared errors of x, or of what it came from."""
        if exposure is None:
            return _gaussian_log_density(squared_error, images[0].numel(), self.noise_std)
        return exposure.log_density(squared_error, images[0, 0].numel())


class PatchDecoder(nn.Module):
    """z_what -> a patch with values in [0, 1]; it starts nearly empty (logit -2)."""

    def __init__(self, *, glimpse_size: int, code_size: int, hidden: int):
        super().__init__()
        self.glimpse_size = glimpse_size
        self.net = nn.Sequential(
            nn.Linear(code_size, hidden), nn.ReLU(), nn.Linear(hidden, glimpse_size**2)
        )

    def forward(self, z_what: Float[Tensor, "batch code"]) -> Float[Tensor, "batch 1 size size"]:
        """Decode codes into patches."""
        patch = torch.sigmoid(self.net(z_what) - 2.0)
        return patch.reshape(-1, 1, self.glimpse_size, self.glimpse_size)


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
        unrolled: Unrolled[PatchLatents],
        hypotheses: Int[Tensor, "hypothesis step"],
        drawn: Int[Tensor, "batch step"],
        exposure: Exposure | None = None,
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(x | h, z) of each hypothesis; here one per prefix, in their order."""
        wanted = images if exposure is None else exposure.undone(images)
        error = _summed_squares(wanted, self.prefixes(unrolled.latents))
        return self._log_density(error, images, exposure)


class SceneDecoder(Decoder):
    """Render each step's candidates into layers and composite every hypothesis from them.

    It renders where the latents are: on their CUDA device, or else on the CPU.

    Args:
        spec: the scene file: camera, light, background, softness, noise.
        meshes: its meshes.
    """

    def __init__(self, spec: SceneSpec, meshes: tuple[Mesh, ...]):
        super().__init__()
        self.spec = spec
        self.bank = MeshBank.pack(meshes)
        self.noise_std = spec.noise_std
        self._banks = {self.bank.vertices.device: self.bank}

    def log_likelihood(
        self,
        images: Float[Tensor, "batch 3 height width"],
        unrolled: Unrolled[PoseLatents],
        hypotheses: Int[Tensor, "hypothesis step"],
        drawn: Int[Tensor, "batch step"],
        exposure: Exposure | None = None,
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return log p(x | h, z); gradients reach every candidate's latents, and the view."""
        wanted = images if exposure is None else exposure.undone(images)
        sharp = Sharpness(self.spec.render, level=0)
        error = self._squared_error(wanted, unrolled, hypotheses, drawn, sharp)
        return self._log_density(error, images, exposure)

    def coarse_log_likelihood(
        self,
        images: Float[Tensor, "batch 3 height width"],
        unrolled: Unrolled[PoseLatents],
        hypotheses: Int[Tensor, "hypothesis step"],
        drawn: Int[Tensor, "batch step"],
        sharpness: Sharpness,
    ) -> Float[Tensor, "batch hypothesis"]:
        """Score the hypotheses by small pictures; otherwise as :meth:`log_likelihood`.

        Each hypothesis is rendered at the images' size, which costs less than to render it large
        and shrink it. So that an error that is the same at every pixel costs the same at every
        level, the noise falls by half with each.

        Args:
            images: already coarse (:func:`~air3d.models.pull_in.coarsen`).
            unrolled, hypotheses, drawn: as there; each identity may come in several rotations
                (:meth:`~air3d.models.latents.TurnedLatents.as_identities`).
            sharpness: how softly to render, and how often the images were halved.
        """
        error = self._squared_error(images, unrolled, hypotheses, drawn, sharpness)
        std = self.noise_std / 2**sharpness.level
        return _gaussian_log_density(error, images.shape[1:].numel(), std)

    def _squared_error(
        self,
        images: Float[Tensor, "batch 3 height width"],
        unrolled: Unrolled[PoseLatents],
        hypotheses: Int[Tensor, "hypothesis step"],
        drawn: Int[Tensor, "batch step"],
        sharpness: Sharpness,
    ) -> Float[Tensor, "batch hypothesis"]:
        """Return by how much each hypothesis, rendered at the images' size, misses them."""
        latents, seen = unrolled.latents, unrolled.seen
        assert seen is not None, "meshes are seen by a camera"
        device = _renders_on(latents.scale)
        camera, light = seen.view.camera.to(device), seen.view.light.to(device)
        camera = camera.halved(sharpness.level)
        batch, steps, identities = latents.scale.shape
        object_to_world = rigid_transform(latents.rotation, latents.position)
        kind = torch.arange(identities) // (identities // len(self.bank.meshes))
        shown = self._shown(kind)
        layer_of = torch.searchsorted(shown, torch.arange(identities), right=True) - 1
        identity = _sent(kind[shown], device).repeat(batch, steps)
        shown, layer_of = _sent(shown, device), _sent(layer_of, device)
        layers = render_layers(
            self._bank_on(device),
            Instances(
                identity,
                object_to_world.to(device)[:, :, shown].flatten(1, 2),
                latents.scale.to(device)[:, :, shown].flatten(1, 2),
                latents.colour.to(device)[:, :, shown].flatten(1, 2),
            ),
            camera,
            light=light,
            softness=sharpness.softness,
        )
        # The drawn candidates' layers once more, after all candidates'.
        first = torch.arange(steps, device=device) * len(shown)
        layers = join([layers, layers.pick(first + layer_of[_sent(drawn, device)])])
        hypotheses = _sent(hypotheses, device)
        candidate = first + layer_of[hypotheses.clamp(0, identities - 1)]
        as_drawn = torch.arange(steps, device=device) + steps * len(shown)
        selection = torch.where(hypotheses == identities, as_drawn, candidate)
        selection = torch.where(hypotheses == NO_OBJECT, NO_OBJECT, selection)
        background = behind_objects(self.spec, camera, light)
        error = squared_error(layers, selection, background, images.movedim(1, -1).to(device))
        return error.to(images.device)

    def _bank_on(self, device: torch.device) -> MeshBank:
        """Return the meshes where they are rendered, sent there once."""
        if device not in self._banks:
            self._banks[device] = self.bank.to(device)
        return self._banks[device]

    def _shown(self, kind: Int[Tensor, " identity"]) -> Int[Tensor, " shown"]:
        """Return which identities need a layer of their own: one rotation of a ball shows all."""
        turns = torch.tensor([mesh.has_turn for mesh in self.bank.meshes])
        first = torch.cat([torch.tensor([True]), kind[1:] != kind[:-1]])
        return (turns[kind] | first).nonzero()[:, 0]

    def layers(self, scenes: Scenes) -> Layers:
        """Rasterize each object into a layer; gradients as of :meth:`image`."""
        device = _renders_on(scenes.position)
        scenes = scenes.to(device)
        return render_layers(
            self._bank_on(device),
            Instances(scenes.identity, scenes.object_to_world, scenes.scale, scenes.colour),
            scenes.camera,
            light=scenes.light,
            softness=self.spec.render,
        )

    def background(self, view: View | Scenes) -> Background:
        """Return what is seen behind the objects; gradients reach the camera and the light."""
        device = _renders_on(view.camera.intrinsics)
        return behind_objects(self.spec, view.camera.to(device), view.light.to(device))

    def image(
        self, scenes: Scenes, softness: RenderSpec | None = None
    ) -> Float[Tensor, "batch 3 height width"]:
        """Render whole scenes; gradients reach all of their tensors but the identities.

        ``softness`` is the scene file's if none is given.
        """
        device = _renders_on(scenes.position)
        spec = self.spec.model_copy(update={"render": softness or self.spec.render})
        images = render_scenes(spec, self._bank_on(device), scenes.to(device))
        return images.to(scenes.position.device)

    @torch.no_grad()
    def blank(self, images: Float[Tensor, "batch 3 height width"], view: View) -> Canvas:
        """Return canvases with nothing but the background painted."""
        painting = Painting.blank(len(images), self.spec.image_size, self.background(view))
        images = images.contiguous(memory_format=torch.channels_last)
        return Canvas(images, view, painting, torch.zeros(len(images), dtype=torch.int64), [])

    def left_beside(
        self, images: Float[Tensor, "batch 3 height width"], scenes: Scenes, looks: int
    ) -> Float[Tensor, "look 3 height width"]:
        """Return what is left of images beside each scene's first 0, 1, ..., looks - 1 objects.

        No gradients; for the order see :meth:`~air3d.models.canvas.Canvas.add_in_turn`.
        """
        step, row = (scenes.identity[:, : looks - 1] != ABSENT).T.nonzero(as_tuple=True)
        layers = self.layers(scenes[row].pick(step[:, None]))
        canvas = self.blank(images, View(scenes.camera, scenes.light))
        return canvas.add_in_turn(layers, scenes.count, looks)


def _renders_on(tensor: Tensor) -> torch.device:
    """Return where to render what a tensor is part of: where it is, if that is a CUDA device."""
    return tensor.device if tensor.device.type == "cuda" else torch.device("cpu")


def _sent(numbers: Tensor, device: torch.device) -> Tensor:
    """Return numbers without gradients on a device; the host does not wait for them to arrive."""
    return numbers.to(device, non_blocking=numbers.device.type == "cpu")
