"""The 3D head of the guide: which mesh, where on its plane, and how turned.

The recurrent state searches the image's map for the object; a glimpse is read there, its size
normalised by depth; it says roughly what stands where, and a second glimpse, as large as that and
in the middle of it, decides identity, place, rotation, scale and colour: what is small is seen
large, and an error of place is the same share of any object. Place is a
normal density in the image, where errors look alike everywhere, carried to the plane by the camera;
rotation is counted from the line of sight, so that the same glimpse means the same everywhere.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Categorical, MultivariateNormal

from air3d.geometry import (
    Camera,
    plane_log_det,
    project,
    sight_azimuths,
    sight_frames,
    unproject_to_plane,
)
from air3d.models.appearance import Appearance
from air3d.models.attention import Windows
from air3d.models.canvas import Canvas
from air3d.models.decoders import SceneDecoder
from air3d.models.glimpses import GlimpseEncoder, GlimpseSize
from air3d.models.guide import Head, Look, Observation
from air3d.models.latents import PoseLatents, TurnedLatents
from air3d.models.pose_posterior import Aim, PosePosterior, TaughtObjects, TrueObjects
from air3d.models.rotations import RotationHead
from air3d.models.search import PlaceMixture, Search
from air3d.models.surroundings import Surroundings
from air3d.models.tempering import temper_gradient, with_gradient_of
from air3d.models.views import SeenView
from air3d.scene import ABSENT, ScenePrior, Scenes, View

GLIMPSE_MARGIN = 1.5
"""Side of a glimpse in diameters: of the largest mesh, then of the one that is seen."""


PLACE_SIZE = 5
"""Numbers that tell a density of a place."""

TURN_WEIGHT = 3.0
"""Of the gradient by which turns are taught, beside those of all else: how an object is turned
shows in few pixels, and is learned last."""


@dataclass(frozen=True)
class PoseLook(Look):
    """What a step sees before it chooses its object, and where that may be."""

    search: PlaceMixture

    def __getitem__(self, rows: Tensor) -> "PoseLook":
        """Return the looks at some of the images."""
        return PoseLook(self.state[rows], self.evidence[rows], self.search[rows])


class PoseHead(Head):
    """Search, look closely, and say what is there.

    Args:
        prior: p(scene), for the KL.
        decoder: of the scene file and its M meshes; paints what was found.
        search: says where to look.
        rotations: reads densities of rotation.
        glimpse: size of the first glimpse, and channels of its encoder, one halving each.
        closer: the same of the second.
        hidden: width of the hidden layers.
        state_size: width of the guide's recurrent state.
    """

    rest_height: Tensor
    half_image: Tensor
    radius: Tensor

    def __init__(
        self,
        prior: ScenePrior,
        decoder: SceneDecoder,
        search: Search,
        rotations: RotationHead,
        *,
        glimpse: GlimpseSize,
        closer: GlimpseSize,
        hidden: int,
        state_size: int,
    ):
        super().__init__()
        spec, meshes = decoder.spec, decoder.bank.meshes
        self.prior = prior
        self.decoder = decoder
        self.num_identities = len(meshes)
        self.num_memory = self.num_identities + 2
        radius = 0.5 * GLIMPSE_MARGIN * torch.tensor([mesh.diameter for mesh in meshes])
        self.surroundings = Surroundings(prior.view)
        self.appearance = Appearance(prior)
        self.search = search
        self.rotations = rotations
        self.num_evidence = search.num_evidence
        self.glimpse = GlimpseEncoder(spec, glimpse, hidden)
        self.closer = GlimpseEncoder(spec, closer, hidden)
        around = 4 + self.surroundings.size + state_size
        self.aim = nn.Sequential(
            nn.Linear(hidden + around, hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.num_identities + PLACE_SIZE),
        )
        self.sizes = [1, PLACE_SIZE, rotations.size, 2 * self.appearance.size]
        self.tell = nn.Sequential(
            nn.Linear(2 * hidden + self.num_identities + around, hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.num_identities * sum(self.sizes)),
        )
        height, width = spec.image_size
        constants = {
            "rest_height": prior.rest_height,
            "half_image": torch.tensor([width / 2, height / 2]),
            "radius": radius,
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def blank(self, observation: Observation) -> Canvas:
        """Return canvases with the background as the guide believes to see it."""
        return self.decoder.blank(observation.images, _seen(observation).view)

    @torch.no_grad()
    def paint(self, canvas: Canvas, found: PoseLatents, row: Tensor) -> None:
        """Paint each object as what it most probably is."""
        identity = found.identity_log_prob[row].argmax(dim=1)
        view = View(canvas.view.camera[row], canvas.view.light[row])
        canvas.add(self.decoder.layers(_objects(found, row, identity, view)), row)

    def look(self, places: Tensor | None, left_over: Tensor | None, state: Tensor) -> PoseLook:
        """Search the map for the next object."""
        assert places is not None and left_over is not None, "scenes have a map and a canvas"
        search, evidence = self.search(places, left_over, state)
        return PoseLook(state, evidence, search)

    def take_aim(
        self,
        observation: Observation,
        centre: Float[Tensor, "batch 2"],
        state: Float[Tensor, "batch state"],
    ) -> Aim:
        """Glance at a coarse place in the image (normalised pixels), for the object near there.

        The guide's ``state`` knows what the objects before it were.
        """
        images, seen = observation.images, _seen(observation)
        windows, sight = self._window(centre.clamp(-1, 1), self.radius.amax(), seen.view.camera)
        features = self.glimpse(images, windows)
        around = self._around(seen, windows, sight, state)
        out = self.aim(torch.cat([features, around], dim=1))
        what, where = out.split([self.num_identities, PLACE_SIZE], dim=1)
        identity = Categorical(logits=what, validate_args=False)
        return Aim(windows, features, identity, _place(where))

    def posterior(
        self,
        observation: Observation,
        aim: Aim,
        centre: Float[Tensor, "batch 2"],
        state: Float[Tensor, "batch state"],
    ) -> PosePosterior:
        """Return q of an object that was glanced at, from a closer look at ``centre``."""
        images, seen = observation.images, _seen(observation)
        guess = aim.identity.logits.argmax(dim=1)
        windows, sight = self._window(centre, self.radius[guess], seen.view.camera)
        known = nn.functional.one_hot(guess, self.num_identities)
        around = self._around(seen, windows, sight, state)
        closer = self.closer(images, windows)
        out = self.tell(torch.cat([aim.features, closer, known, around], dim=1))
        out = out.unflatten(1, (self.num_identities, sum(self.sizes)))
        logits, place, rotation, appearance = out.split(self.sizes, dim=-1)
        return PosePosterior(
            windows=windows,
            identity=Categorical(logits=logits[..., 0], validate_args=False),
            place=_place(place),
            rotation=self.rotations.density(rotation, sight),
            appearance=self.appearance.posterior(appearance),
        )

    def look_twice(
        self,
        observation: Observation,
        centre: Float[Tensor, "batch 2"],
        state: Float[Tensor, "batch state"],
    ) -> PosePosterior:
        """Take aim at a coarse place, then return q from a closer look at what is there."""
        aim = self.take_aim(observation, centre, state)
        return self.posterior(observation, aim, aim.centre, state)

    def _around(
        self,
        seen: SeenView,
        windows: Windows,
        sight: Float[Tensor, "batch 3 3"],
        state: Float[Tensor, "batch state"],
    ) -> Float[Tensor, "batch context"]:
        """Return what is known beside a glimpse."""
        azimuth = sight_azimuths(sight)
        direction = [azimuth[:, None].cos(), azimuth[:, None].sin()]
        return torch.cat([windows.centre, *direction, self.surroundings(seen, azimuth), state], 1)

    def sample(self, observation: Observation, look: PoseLook) -> PoseLatents:
        """Draw latents for every identity; gradients as their densities say.

        So is the component of the search where the glimpse is read, but that is no latent: a
        bound on log p(x) holds whatever the component.
        """
        q = self.look_twice(observation, look.search.at(look.search.sample()), look.state)
        drawn = q.place.rsample(), q.rotation.rsample(), q.appearance.rsample()
        return self._latents(q, _seen(observation), *drawn)

    def sample_turned(self, observation: Observation, look: PoseLook, turns: int) -> TurnedLatents:
        """Draw latents for every identity, in several rotations each; gradients likewise."""
        seen = _seen(observation)
        aim = self.take_aim(observation, look.search.at(look.search.sample()), look.state)
        q = self.posterior(observation, aim, aim.centre.detach(), look.state)
        place, unit = q.place.rsample(), q.appearance.rsample()
        rotation = q.rotation.rsample()
        latents = self._latents(q, seen, place, rotation, unit)
        some = q.rotation.rsample_some(turns)
        kl = latents.kl - q.rotation.with_fixed_weights().log_prob(rotation)
        found = q.windows.centre[:, None] + place * q.windows.half_side[:, None]
        attention = [
            look.search.log_prob(each) + aim.teach(torch.tensor(k, device=each.device), each)
            for k, each in enumerate(found.detach().unbind(dim=1))
        ]
        return TurnedLatents(
            **vars(latents),
            turned=some.rotation,
            turn_log_weight=some.log_weight,
            turned_kl=kl[..., None] + some.log_prob,
            attention_log_prob=torch.stack(attention, dim=1),
        )

    def mode(self, observation: Observation, look: PoseLook) -> PoseLatents:
        """Take the most probable latents of every identity."""
        return self.look_at(observation, look.search.at(look.search.mode()), look.state)

    def look_at(
        self,
        observation: Observation,
        centre: Float[Tensor, "batch 2"],
        state: Float[Tensor, "batch state"],
    ) -> PoseLatents:
        """Take the most probable latents of every identity at a place (see :meth:`look_twice`)."""
        q = self.look_twice(observation, centre, state)
        modes = q.place.mean, q.rotation.modes(1)[:, :, 0], q.appearance.mean
        return self._latents(q, _seen(observation), *modes)

    def teach(self, observation: Observation, look: PoseLook, truth: TrueObjects) -> TaughtObjects:
        """Score true objects, one for each image.

        The first glimpse is read at the component of the search that the truth most likely came
        from: log q of both bounds log q of the place from below. Where glimpses are read is taught
        by terms of its own, so the others do not move it.
        """
        if not len(truth.identity):
            return TaughtObjects.nothing(truth.identity.device)
        camera = _seen(observation).view.camera
        normalised = self.normalised_pixels(camera, truth.position)
        joint = look.search.joint_log_prob(normalised)
        component = joint.argmax(dim=1)
        aim = self.take_aim(observation, look.search.at(component).detach(), look.state)
        q = self.posterior(observation, aim, aim.centre.detach(), look.state)
        row, identity = torch.arange(len(component), device=component.device), truth.identity
        place = (normalised - q.windows.centre) / q.windows.half_side
        repeated = place[:, None].expand(-1, self.num_identities, 2)
        location = q.place.log_prob(repeated)[row, identity]
        location_std = q.place.scale_tril.diagonal(dim1=-2, dim2=-1)[row, identity]
        unit = self.appearance.to_unit(truth.scale, truth.colour)[:, None]
        appearance = temper_gradient(
            q.appearance.log_prob(unit)[row, identity],
            q.appearance.stddev[row, identity][..., None],
        )
        rotation = q.rotation.teach(truth.rotation, identity)
        return TaughtObjects(
            identity_log_prob=q.identity.log_prob(identity),
            location_log_prob=temper_gradient(location, location_std),
            rotation_log_prob=with_gradient_of(TURN_WEIGHT * rotation, rotation),
            appearance_log_prob=appearance.sum(dim=-1),
            attention_log_prob=joint.logsumexp(dim=1) + aim.teach(identity, normalised),
        )

    @torch.no_grad()
    def left_over(
        self, observation: Observation, states: Float[Tensor, "batch step state"], scenes: Scenes
    ) -> Float[Tensor, "look 3 height width"]:
        """Return what is left of images when the guide has drawn each of their first n objects.

        It looks at the true objects and draws what it takes them for, as wrong as it yet is. For
        the order see :meth:`~air3d.models.canvas.Canvas.add_in_turn`.
        """
        looks = states.shape[1]
        step, row = (scenes.identity[:, : looks - 1] != ABSENT).T.nonzero(as_tuple=True)
        canvas = self.blank(observation)
        if not len(row):
            return canvas.left_over(torch.arange(len(scenes), device=row.device))
        centre = self.normalised_pixels(scenes.camera[row], scenes.position[row, step])
        part = observation[row]
        q = self.look_twice(part, centre.clamp(-1, 1), states[row, step])
        drawn = q.place.rsample(), q.rotation.rsample(), q.appearance.rsample()
        latents, identity = self._latents(q, _seen(part), *drawn), q.identity.sample()
        every = torch.arange(len(row), device=row.device)
        layers = self.decoder.layers(_objects(latents, every, identity, _seen(part).view))
        return canvas.add_in_turn(layers, scenes.count, looks)

    def normalised_pixels(
        self, camera: Camera, position: Float[Tensor, "row 3"]
    ) -> Float[Tensor, "row 2"]:
        """Return where objects' origins are in the image: -1 and 1 are its edges."""
        return project(camera, position[:, None]).pixels[:, 0] / self.half_image - 1

    def memories(self, scenes: Scenes) -> Float[Tensor, "batch step memory"]:
        """Return what each step would be told of the true objects, were they found."""
        known = nn.functional.one_hot(scenes.identity.clamp(min=0), self.num_identities)
        pixels = project(scenes.camera, scenes.position).pixels / self.half_image - 1
        return torch.cat([known.to(pixels.dtype), pixels], dim=-1)

    def _latents(
        self,
        q: PosePosterior,
        seen: SeenView,
        place: Float[Tensor, "batch identity 2"],
        rotation: Float[Tensor, "batch identity 3 3"],
        unit: Float[Tensor, "batch identity appearance"],
    ) -> PoseLatents:
        """Carry places in the windows to the plane, with their densities."""
        camera = seen.view.camera
        scale, colour = self.appearance.from_unit(unit)
        half_side = q.windows.half_side[:, None] * self.half_image
        pixels = (q.windows.centre[:, None] + 1) * self.half_image + place * half_side
        position = unproject_to_plane(camera, pixels, self.rest_height * scale)
        log_det = plane_log_det(camera, position) - half_side.log().sum(dim=-1)
        log_q = q.place.log_prob(place) + log_det
        log_q = log_q + q.rotation.with_fixed_weights().log_prob(rotation)
        kl = log_q - self.prior.log_prob_pose(position)
        # Written out: a matrix product of many 2x2 matrices takes five times as long.
        tril = half_side[..., None] * q.place.scale_tril
        covariance = (tril[..., :, None, :] * tril[..., None, :, :]).sum(dim=-1)
        found = (q.identity.probs[..., None] * pixels).sum(dim=1) / self.half_image - 1
        return PoseLatents(
            position=position,
            rotation=rotation,
            rotation_modes=q.rotation.modes(self.rotations.num_modes),
            scale=scale,
            colour=colour,
            pixel_covariance=covariance,
            kl=kl + self.appearance.kl(q.appearance, unit),
            identity_log_prob=q.identity.logits,
            found=found,
        )

    def depth_at(self, centre: Float[Tensor, "batch 2"], camera: Camera) -> Float[Tensor, " batch"]:
        """Return the depth (metres) of an object of middle height whose origin is seen there."""
        return project(camera, self.place_at(centre, camera)[:, None]).depth[:, 0]

    def place_at(
        self, centre: Float[Tensor, "batch 2"], camera: Camera
    ) -> Float[Tensor, "batch 3"]:
        """Return where (world, metres) the origin of such an object is."""
        pixels = ((centre + 1) * self.half_image)[:, None]
        height = self.rest_height.mean().expand(len(centre), 1)
        return unproject_to_plane(camera, pixels, height)[:, 0]

    def _window(
        self, centre: Float[Tensor, "batch 2"], radius: Float[Tensor, "*batch"], camera: Camera
    ) -> tuple[Windows, Tensor]:
        """Return the window around a place in the image, and the axes of its line of sight.

        ``radius`` is half the side that the window has there, metres.
        """
        depth = self.depth_at(centre, camera)
        focal = camera.intrinsics[:, [0, 1], [0, 1]]
        half_side = focal * (radius / depth.clamp(min=0.1))[:, None] / self.half_image
        pixels = ((centre + 1) * self.half_image)[:, None]
        return Windows(centre, half_side), sight_frames(camera, pixels)[:, 0]


def _place(raw: Float[Tensor, "*batch output"]) -> MultivariateNormal:
    """Read a network's output as a density of a place in a window: mean, scales, correlation."""
    scale = nn.functional.softplus(raw[..., 2:4] - 2.0) + 3e-3
    tril = torch.diag_embed(scale)
    tril[..., 1, 0] = raw[..., 4] * scale[..., 1]
    return MultivariateNormal(raw[..., :2], scale_tril=tril, validate_args=False)


def _objects(
    found: PoseLatents, row: Int[Tensor, " row"], identity: Int[Tensor, " row"], view: View
) -> Scenes:
    """Return scenes of one object each: what was found in some rows for one identity each."""
    one = {
        name: getattr(found, name)[row, identity][:, None]
        for name in ("position", "rotation", "scale", "colour")
    }
    return Scenes(identity[:, None], **one, camera=view.camera, light=view.light)


def _seen(observation: Observation) -> SeenView:
    assert observation.seen is not None, "poses are found before a camera"
    return observation.seen
