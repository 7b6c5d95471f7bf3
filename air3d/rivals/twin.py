"""A supervised twin of AIR: its encoder and its recurrent core, with heads that regress labels.

The rival of the 3D scenes in Eslami et al. 2016: a network like AIR's that is shown what each
image holds, and learns to say that by cross entropy and squared error. It answers in AIR's own
coordinates (places in the image, turns from the line of sight, see ``air3d.models.poses``), so they
are no advantage of AIR's; and it has about as many weights, since a layer that reads the whole map
stands where AIR looks closely at a glimpse. What it lacks is what regression lacks: of labels that
an image leaves open it can only learn the mean.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from air3d.estimate import SceneEstimate
from air3d.geometry import (
    project,
    sight_azimuths,
    sight_frames,
    unproject_to_plane,
    yaw_rotation,
)
from air3d.inference.estimating import Certainty, scene_estimates
from air3d.models import SceneConfig
from air3d.models.appearance import Appearance
from air3d.models.decoders import SceneDecoder
from air3d.models.encoder import MapEncoder, conv_encoder, raise_contrast
from air3d.objectives import count_log_prob
from air3d.rivals.view_numbers import ViewNumbers
from air3d.scene import ABSENT, Mesh, ScenePrior, Scenes, SceneSpec, View


@dataclass(frozen=True)
class Numbers:
    """What is regressed of B images, N objects each.

    Attributes:
        place: of the object's origin in the image, whose edges are -1 and 1 [B, N, 2].
        turn: cosine and sine of its yaw, counted from the line of sight [B, N, 2].
        looks: scale and colour where they are open, the prior's range being [-1, 1] [B, N, A].
        view: see :class:`~air3d.rivals.view_numbers.ViewNumbers` [B, V].
    """

    place: Float[Tensor, "batch step 2"]
    turn: Float[Tensor, "batch step 2"]
    looks: Float[Tensor, "batch step look"]
    view: Float[Tensor, "batch number"]


@dataclass(frozen=True)
class Answers:
    """What the twin says of B images, step by step.

    Attributes:
        presence_logits: of there being a further object [B, N].
        identity_logits: [B, N, M].
        numbers: where and how it is, and from where it is seen.
    """

    presence_logits: Float[Tensor, "batch step"]
    identity_logits: Float[Tensor, "batch step identity"]
    numbers: Numbers


class Twin(nn.Module):
    """Encode an image once, then name one object per step, told of its own last answer.

    Attributes:
        meshes: the scene file's.
        decoder: renders what it says.
        max_steps: N.
        views, appearance: how views, scales and colours become numbers.

    Args:
        spec: a scene file whose objects stand upright.
        config: AIR's sizes; those of the glimpse and of densities are not used.
        meshes: the scene file's; M of them.

    Raises:
        ValueError: objects turn freely: what is regressed is a yaw.
    """

    rest_height: Tensor
    half_image: Tensor

    def __init__(self, spec: SceneSpec, config: SceneConfig, meshes: tuple[Mesh, ...]):
        super().__init__()
        if spec.objects.rotation == "free":
            raise ValueError(
                f"{spec.name}: its objects turn freely, but the supervised twin regresses yaws; "
                "give a scene file whose objects stand upright"
            )
        self.meshes, self.decoder = meshes, SceneDecoder(spec, meshes)
        self.max_steps = len(spec.count) - 1
        prior = ScenePrior(spec, meshes)
        self.views, self.appearance = ViewNumbers(prior.view), Appearance(prior)
        self.encoder = MapEncoder(
            spec.num_channels, spec.image_size, config.channels, config.features, config.search
        )
        raise_contrast(self.encoder.fine, spec.background)
        self.reader = conv_encoder(
            config.search, self.encoder.map_size, (config.search,), config.hidden
        )
        self.tell_view = _two_layers(config.features, config.hidden, self.views.size)
        self.sizes = [1, len(meshes), 2, 2, self.appearance.size]
        self.cell = nn.LSTMCell(config.features + len(meshes) + 2, config.state)
        self.tell = _two_layers(config.hidden + config.state, config.hidden, sum(self.sizes))
        image = torch.tensor([spec.image_size[1] / 2, spec.image_size[0] / 2])
        self.register_buffer("half_image", image, persistent=False)
        self.register_buffer("rest_height", prior.rest_height, persistent=False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Answers:
        """Take all N steps."""
        encoded = self.encoder(images)
        read = self.reader(encoded.map)
        memory = read.new_zeros(len(images), len(self.meshes) + 2)
        state, steps = None, []
        for _ in range(self.max_steps):
            state = self.cell(torch.cat([encoded.features, memory], dim=1), state)
            out = self.tell(torch.cat([read, state[0]], dim=1))
            steps.append(out)
            _, identity, place, _, _ = out.split(self.sizes, dim=1)
            memory = torch.cat([identity.softmax(dim=1), place], dim=1)
        presence, identity, place, turn, looks = torch.stack(steps, 1).split(self.sizes, dim=2)
        view = self.tell_view(encoded.features)[:, : self.views.size]  # nothing without a layer
        return Answers(presence[..., 0], identity, Numbers(place, turn, looks, view))

    def numbers(self, scenes: Scenes) -> Numbers:
        """Return what should be said of scenes; of absent objects it has no meaning."""
        pixels = project(scenes.camera, scenes.position).pixels
        turn = scenes.yaw - sight_azimuths(sight_frames(scenes.camera, pixels))
        return Numbers(
            place=pixels / self.half_image - 1,
            turn=torch.stack([turn.cos(), turn.sin()], dim=2),
            looks=self.appearance.to_unit(scenes.scale, scenes.colour),
            view=self.views.encode(View(scenes.camera, scenes.light)),
        )

    def scenes(self, answers: Answers) -> Scenes:
        """Return the scenes that answers stand for: the likeliest counts and identities."""
        numbers, identity = answers.numbers, answers.identity_logits.argmax(dim=2)
        count = count_log_prob(answers.presence_logits).argmax(dim=1)
        view = self.views.decode(numbers.view)
        scale, colour = self.appearance.from_unit(numbers.looks)
        pixels = (numbers.place + 1) * self.half_image
        height = self.rest_height[identity] * scale
        yaw = torch.atan2(numbers.turn[..., 1], numbers.turn[..., 0])
        step = torch.arange(self.max_steps)
        return Scenes(
            identity=identity.masked_fill(step >= count[:, None], ABSENT),
            position=unproject_to_plane(view.camera, pixels, height),
            rotation=yaw_rotation(yaw + sight_azimuths(sight_frames(view.camera, pixels))),
            scale=scale,
            colour=colour,
            camera=view.camera,
            light=view.light,
        )


@torch.no_grad()
def infer_by_twin(twin: Twin, images: Float[Tensor, "batch 3 height width"]) -> list[SceneEstimate]:
    """Return what the twin says of images; of how exact its places are it says nothing (0)."""
    answers = twin(images)
    scenes = twin.scenes(answers)
    certainty = Certainty(
        count_probability=count_log_prob(answers.presence_logits).exp(),
        presence_probability=answers.presence_logits.sigmoid().cumprod(dim=1),
        identity_probability=answers.identity_logits.softmax(dim=2).amax(dim=2),
        position_covariance=images.new_zeros(*answers.presence_logits.shape, 2, 2),
    )
    shown = twin.decoder.image(scenes)
    return scene_estimates(twin.decoder, images, scenes, certainty, shown)


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a perceptron, without layers where there is nothing to say."""
    layers = nn.Sequential()
    if outputs:
        layers.extend([nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs)])
    return layers
