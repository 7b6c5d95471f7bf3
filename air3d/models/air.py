"""Attend, Infer, Repeat: a guide, a decoder, and the two objectives that train them.

One model for both modes: in 2D the guide's head finds patches and the decoder paints them, in
3D it finds poses and the decoder renders them. The rest is the same code.
"""

import math
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from air3d.models.decoders import Decoder, GlimpseDecoder, PatchDecoder, SceneDecoder
from air3d.models.encoder import (
    MAP_SIDE,
    Encoded,
    FlatEncoder,
    MapEncoder,
    halved,
    halvings_to_map,
    raise_contrast,
)
from air3d.models.exposure import Exposure
from air3d.models.free_rotations import FreeHead
from air3d.models.glimpses import GlimpseSize
from air3d.models.guide import Guide, Observation
from air3d.models.lessons import lesson
from air3d.models.patches import PatchHead, PatchPrior
from air3d.models.poses import PoseHead, PoseLook, TrueObjects
from air3d.models.rotations import RotationHead, UprightHead
from air3d.models.rows import rows_of
from air3d.models.search import Search
from air3d.models.unrolled import Unrolled
from air3d.models.views import ViewHead
from air3d.objectives import (
    Elbo,
    Sleep,
    StepTerms,
    TaughtSteps,
    draw_identities,
    enumerate_hypotheses,
    enumerate_swaps,
    exact_elbo,
    sleep_objective,
    swapped_elbo,
)
from air3d.scene import GlimpseSpec, Mesh, ScenePrior, Scenes, SceneSpec, View

MAX_VALUES = 2**28
"""Numbers in all hypotheses' images of a batch; one gibibyte."""


@dataclass(frozen=True)
class GlimpseConfig:
    """Sizes of the 2D model.

    Attributes:
        max_steps: N; the paper takes one more than the data's largest count.
        channels: of the image encoder, one halving each.
        features, state: widths of the image's features and of the recurrent state.
        glimpse_size: side of a glimpse and of a patch, pixels.
        code: width of z_what.
        hidden: width of the patch model's hidden layers.
        prior: p(z_where).
    """

    max_steps: int = 3
    channels: tuple[int, ...] = (16, 32, 64)
    features: int = 256
    state: int = 256
    glimpse_size: int = 20
    code: int = 50
    hidden: int = 200
    prior: PatchPrior = PatchPrior()


@dataclass(frozen=True)
class SceneConfig:
    """Sizes of the 3D model.

    Attributes:
        channels: of the image encoder, one halving each.
        features, state: widths of the image's features and of the recurrent state.
        search: channels of the map in which objects are searched.
        remains: channels of the layers that look at what is left of the image, one halving each.
        glimpse_size: side of an object's first glimpse, pixels.
        glimpse_channels: of the glimpse's encoder, one halving each.
        closer_size, closer_channels: the same of the second glimpse, which is as large as the
            object.
        hidden: width of the head's hidden layers.
        yaw_bins: components of the density of upright objects' yaw.
        rotation_bins: components of the density of the rotation of objects that turn freely.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    features: int = 128
    state: int = 256
    search: int = 32
    remains: tuple[int, ...] = (16, 32, 32)
    glimpse_size: int = 32
    glimpse_channels: tuple[int, ...] = (32, 64, 128)
    closer_size: int = 24
    closer_channels: tuple[int, ...] = (32, 64)
    hidden: int = 256
    yaw_bins: int = 24
    rotation_bins: int = 96

    def __post_init__(self):
        least = {"yaw_bins": UprightHead.num_modes, "rotation_bins": FreeHead.num_modes}
        for name, value in asdict(self).items():
            sizes = value if isinstance(value, tuple) else (value,)
            if min(sizes, default=0) < least.get(name, 1):
                raise ValueError(
                    f"--network.{name.replace('_', '-')}: must be at least {least.get(name, 1)}, "
                    f"got {' '.join(map(str, sizes)) or 'nothing'}"
                )


class Air(nn.Module):
    """A guide and a decoder of one scene file.

    Attributes:
        spec: the scene file.
        config: the sizes it was built with.
        meshes: the scene file's meshes; () in 2D.
        guide, decoder: q(z | x) and p(x | z).
    """

    def __init__(
        self,
        spec: SceneSpec | GlimpseSpec,
        config: SceneConfig | GlimpseConfig,
        meshes: tuple[Mesh, ...],
        guide: Guide,
        decoder: Decoder,
    ):
        super().__init__()
        self.spec = spec
        self.config = config
        self.meshes = meshes
        self.guide = guide
        self.decoder = decoder
        # Patches have no identity: their hypotheses are the prefixes.
        self.hypotheses = (
            enumerate_swaps(guide.max_steps, len(meshes))
            if meshes
            else enumerate_hypotheses(guide.max_steps)
        )

    @property
    def max_steps(self) -> int:
        """N, the largest count the guide can infer."""
        return self.guide.max_steps

    @property
    def pose_head(self) -> PoseHead:
        """The guide's head of a 3D model.

        Raises:
            TypeError: this is a 2D model.
        """
        if not isinstance(self.guide.head, PoseHead):
            raise TypeError(f"a model of '{self.spec.name}' is 2D and knows no scenes of meshes")
        return self.guide.head

    @property
    def scene_decoder(self) -> SceneDecoder:
        """The decoder of a 3D model.

        Raises:
            TypeError: this is a 2D model.
        """
        if not isinstance(self.decoder, SceneDecoder):
            raise TypeError(f"a model of '{self.spec.name}' is 2D and renders no scenes of meshes")
        return self.decoder

    def elbo(
        self,
        images: Float[Tensor, "batch channel height width"],
        count_log_prior: Float[Tensor, " count"],
        exposure: Exposure | None = None,
    ) -> Elbo:
        """Bound log p(x) of each image, with the count and the identities summed out.

        In 3D the bound is of one draw of the identities, each of which is summed out in turn (see
        :func:`~air3d.objectives.swapped_elbo`); all combinations would be too many.

        Args:
            images: values in [0, 1].
            count_log_prior: log p(n), n = 0..N.
            exposure: of the camera that took the images, if they are not the decoder's own. Any
                exposure gives a bound, on log p(x | exposure); no gradients reach it.

        Raises:
            ValueError: the images of all hypotheses would take more than ``MAX_VALUES`` numbers.
        """
        if len(self.hypotheses) * images.numel() > MAX_VALUES:
            raise ValueError(
                f"elbo: {len(images)} images with {len(self.hypotheses)} hypotheses each are too "
                "many to sum at once; lower --batch, or train with --phase sleep"
            )
        hypotheses = self.hypotheses.to(images.device)
        unrolled = self.guide.sample(images)
        latents, seen = unrolled.latents, unrolled.seen
        steps = StepTerms(unrolled.presence_logits, latents.identity_log_prob, latents.kl)
        drawn = draw_identities(latents.identity_log_prob)
        log_likelihood = self.decoder.log_likelihood(images, unrolled, hypotheses, drawn, exposure)
        prior = count_log_prior.to(images.device)
        bound = swapped_elbo if self.meshes else exact_elbo
        return bound(log_likelihood, steps, hypotheses, prior, seen.kl if seen else None)

    def sleep(self, images: Float[Tensor, "batch 3 height width"], scenes: Scenes) -> Sleep:
        """Score the scenes that made the images under the guide (3D only).

        The guide is taught the objects from near to far, an order that it can see in the image, and
        to go back to those that it has passed over (:func:`~air3d.models.lessons.lesson`).
        """
        head, viewer = self.pose_head, self.guide.viewer
        assert viewer is not None, "a head of poses has a view"
        taken = lesson(scenes)
        scenes = taken.scenes
        encoded = self.guide.encoder(images)
        states = self.guide.states(encoded.features, head.memories(scenes))
        with torch.no_grad():
            seen = viewer.sample(encoded.features)
        left_over = head.left_over(Observation(images, seen), states, scenes)
        told = viewer.told(View(scenes.camera, scenes.light))
        reached = self._reached(encoded, states, left_over, scenes.count)
        found = (reached.step < scenes.count[reached.row]).nonzero()[:, 0]
        row, step = reached.row[found], reached.step[found]
        truth = TrueObjects.of(scenes, row, taken.wanted[row, step])
        taught = head.teach(Observation(images, told)[row], reached.look[found], truth)

        def every(log_prob: Float[Tensor, " row"]) -> Float[Tensor, "batch step"]:
            return torch.zeros_like(states[..., 0]).index_put((row, step), log_prob)

        log_probs = {name: every(log_prob) for name, log_prob in vars(taught).items()}
        view = viewer.teach(encoded.features, told.view)
        steps = TaughtSteps(presence_logits=reached.presence_logits, **log_probs)
        return sleep_objective(steps, scenes.count, view)

    @torch.no_grad()
    def presence_given(
        self, images: Float[Tensor, "batch 3 height width"], scenes: Scenes
    ) -> Float[Tensor, "batch step"]:
        """Return the logits of q(z_pres | x, the objects before) along scenes that are given.

        It is what the guide says of the count when it is told the objects, from near to far, and
        sees what is left of the images beside them (3D only). Steps after the first one that has
        no object are ruled out, as in :class:`~air3d.models.unrolled.Unrolled`.
        """
        head, scenes = self.pose_head, scenes.near_to_far()
        encoded = self.guide.encoder(images)
        states = self.guide.states(encoded.features, head.memories(scenes))
        left_over = self.scene_decoder.left_beside(images, scenes, states.shape[1])
        return self._reached(encoded, states, left_over, scenes.count).presence_logits

    def _reached(
        self,
        encoded: Encoded,
        states: Float[Tensor, "batch step state"],
        left_over: Float[Tensor, "look 3 height width"],
        count: Int[Tensor, " batch"],
    ) -> "_Reached":
        """Look with the steps that scenes reach: all up to the one that finds no further object."""
        steps = torch.arange(self.max_steps, device=count.device)
        step, row = (steps[:, None] <= count).nonzero(as_tuple=True)
        assert encoded.map is not None, "scenes have a map"
        look = self.pose_head.look(rows_of(encoded.map, row), left_over, states[row, step])
        ruled_out = torch.full_like(states[..., 0], -math.inf)
        logits = ruled_out.index_put((row, step), self.guide.presence_logits(look))
        return _Reached(row, step, look, logits)

    def mode(self, images: Float[Tensor, "batch channel height width"]) -> Unrolled:
        """Return the guide's greedy mode: each step's mode, given the modes before it."""
        return self.guide.mode(images)


@dataclass(frozen=True)
class _Reached:
    """The steps that scenes reach, step by step, of all images that reach it.

    Attributes:
        row: of which image [R].
        step: which step [R].
        look: what it sees [R].
        presence_logits: of q(z_pres = 1) [B, N]; minus infinity where a step is not reached.
    """

    row: Int[Tensor, " reached"]
    step: Int[Tensor, " reached"]
    look: PoseLook
    presence_logits: Float[Tensor, "batch step"]


def build_air(
    spec: SceneSpec | GlimpseSpec,
    config: SceneConfig | GlimpseConfig,
    meshes: tuple[Mesh, ...] = (),
) -> Air:
    """Build the untrained model of a scene file; weights come from torch's random state."""
    if isinstance(spec, SceneSpec) and isinstance(config, SceneConfig):
        return _scene_air(spec, config, meshes)
    if isinstance(spec, GlimpseSpec) and isinstance(config, GlimpseConfig):
        return _glimpse_air(spec, config)
    raise TypeError(
        f"build_air: a {type(config).__name__} does not fit a scene file with decoder "
        f"{spec.decoder!r}"
    )


def _glimpse_air(spec: GlimpseSpec, config: GlimpseConfig) -> Air:
    if config.max_steps < len(spec.count) - 1:
        raise ValueError(
            f"a model of {config.max_steps} steps cannot count to {len(spec.count) - 1}, as "
            f"'{spec.name}' does; raise max_steps"
        )
    sizes = {
        "glimpse_size": config.glimpse_size,
        "code_size": config.code,
        "hidden": config.hidden,
    }
    head = PatchHead(config.state, **sizes, prior=config.prior)
    decoder = GlimpseDecoder(PatchDecoder(**sizes), spec.image_size, spec.noise_std)
    encoder = FlatEncoder(spec.num_channels, spec.image_size, config.channels, config.features)
    guide = Guide(
        encoder,
        config.features,
        None,
        head,
        state_size=config.state,
        max_steps=config.max_steps,
    )
    return Air(spec, config, (), guide, decoder)


def _scene_air(spec: SceneSpec, config: SceneConfig, meshes: tuple[Mesh, ...]) -> Air:
    prior = ScenePrior(spec, meshes)
    _check_halvings(spec, config)
    encoder = MapEncoder(
        spec.num_channels, spec.image_size, config.channels, config.features, config.search
    )
    raise_contrast(encoder.fine, spec.background)
    seen = config.remains[: halvings_to_map(spec.image_size, config.remains)]
    search = Search(config.state, config.search, spec.num_channels, spec.image_size, seen)
    raise_contrast(search.remains, (0.0, 0.0, 0.0))
    decoder = SceneDecoder(spec, meshes)
    head = PoseHead(
        prior,
        decoder,
        search,
        _rotation_head(spec, config, meshes),
        glimpse=GlimpseSize(config.glimpse_size, config.glimpse_channels),
        closer=GlimpseSize(config.closer_size, config.closer_channels),
        hidden=config.hidden,
        state_size=config.state,
    )
    guide = Guide(
        encoder,
        config.features,
        ViewHead(prior.view, config.features, config.hidden),
        head,
        state_size=config.state,
        max_steps=len(spec.count) - 1,
    )
    return Air(spec, config, meshes, guide, decoder)


def _check_halvings(spec: SceneSpec, config: SceneConfig) -> None:
    """Refuse layers that do not bring images down to the map in which objects are searched."""
    for name, channels in (("channels", config.channels), ("remains", config.remains)):
        if max(halved(spec.image_size, len(channels))) > MAP_SIDE:
            height, width = spec.image_size
            raise ValueError(
                f"--network.{name}: must halve images of {height} x {width} pixels to at most "
                f"{MAP_SIDE} a side; give more than {len(channels)}"
            )


def _rotation_head(spec: SceneSpec, config: SceneConfig, meshes: tuple[Mesh, ...]) -> RotationHead:
    if spec.objects.rotation == "free":
        return FreeHead(meshes, config.rotation_bins)
    return UprightHead(meshes, config.yaw_bins)
