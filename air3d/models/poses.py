"""The 3D head of the guide: which mesh, where on its plane, and how turned.

The recurrent state searches the image's map for the object; a glimpse is read there, its size
normalised by depth; the glimpse decides identity, place, rotation, scale and colour. Place is a
normal density in the image, where errors look alike everywhere, carried to the plane by the camera;
rotation is counted from the line of sight, so that the same glimpse means the same everywhere.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
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
from air3d.models.attention import Windows, read_glimpse
from air3d.models.canvas import Canvas
from air3d.models.decoders import SceneDecoder
from air3d.models.encoder import conv_encoder, raise_contrast
from air3d.models.guide import Head, Look, Observation
from air3d.models.latents import PoseLatents, TurnedLatents
from air3d.models.pose_posterior import PosePosterior, TaughtObjects, TrueObjects
from air3d.models.rotations import RotationHead
from air3d.models.search import PlaceMixture, Search
from air3d.models.surroundings import Surroundings
from air3d.models.tempering import temper_gradient
from air3d.models.views import SeenView
from air3d.scene import ABSENT, ScenePrior, Scenes

GLIMPSE_MARGIN = 1.5
"""Side of the glimpse in diameters of the largest mesh."""


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
        glimpse_size: side of the glimpse, pixels.
        channels: of the glimpse's encoder, one halving each.
        hidden: width of the hidden layers.
        state_size: width of the guide's recurrent state.
    """

    rest_height: Tensor
    half_image: Tensor

    def __init__(
        self,
        prior: ScenePrior,
        decoder: SceneDecoder,
        search: Search,
        rotations: RotationHead,
        *,
        glimpse_size: int,
        channels: tuple[int, ...],
        hidden: int,
        state_size: int,
    ):
        super().__init__()
        spec, meshes = decoder.spec, decoder.bank.meshes
        self.prior = prior
        self.decoder = decoder
        self.glimpse_size = glimpse_size
        self.num_identities = len(meshes)
        self.num_memory = self.num_identities + 2
        self.glimpse_radius = 0.5 * GLIMPSE_MARGIN * max(mesh.diameter for mesh in meshes)
        self.surroundings = Surroundings(prior.view)
        self.appearance = Appearance(prior)
        self.search = search
        self.rotations = rotations
        self.num_evidence = search.num_evidence
        self.glimpse = conv_encoder(
            spec.num_channels, (glimpse_size, glimpse_size), channels, hidden
        )
        raise_contrast(self.glimpse, spec.background)
        self.sizes = [1, 5, rotations.size, 2 * self.appearance.size]
        self.tell = nn.Sequential(
            nn.Linear(hidden + 4 + self.surroundings.size + state_size, hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.num_identities * sum(self.sizes)),
        )
        height, width = spec.image_size
        constants = {
            "rest_height": prior.rest_height,
            "half_image": torch.tensor([width / 2, height / 2]),
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
        one = {
            name: getattr(found, name)[row, identity][:, None]
            for name in ("position", "rotation", "scale", "colour")
        }
        view = canvas.view
        scenes = Scenes(identity[:, None], **one, camera=view.camera[row], light=view.light[row])
        canvas.add(self.decoder.layers(scenes), row)

    def look(self, places: Tensor | None, left_over: Tensor | None, state: Tensor) -> PoseLook:
        """Search the map for the next object."""
        assert places is not None and left_over is not None, "scenes have a map and a canvas"
        search, evidence = self.search(places, left_over, state)
        return PoseLook(state, evidence, search)

    def posterior(
        self,
        observation: Observation,
        centre: Float[Tensor, "batch 2"],
        state: Float[Tensor, "batch state"],
    ) -> PosePosterior:
        """Return q of the object at a coarse place in the image (normalised pixels).

        The guide's ``state`` knows what the objects before it were.
        """
        images, seen = observation.images, _seen(observation)
        windows, sight = self._window(centre.clamp(-1, 1), seen.view.camera)
        features = self.glimpse(read_glimpse(images, windows, self.glimpse_size))
        azimuth = sight_azimuths(sight)
        direction = [azimuth[:, None].cos(), azimuth[:, None].sin()]
        around = self.surroundings(seen, azimuth)
        context = torch.cat([features, windows.centre, *direction, around, state], 1)
        out = self.tell(context).unflatten(1, (self.num_identities, sum(self.sizes)))
        logits, place, rotation, appearance = out.split(self.sizes, dim=-1)
        scale = nn.functional.softplus(place[..., 2:4] - 2.0) + 3e-3
        tril = torch.diag_embed(scale)
        tril[..., 1, 0] = place[..., 4] * scale[..., 1]
        return PosePosterior(
            windows=windows,
            identity=Categorical(logits=logits[..., 0], validate_args=False),
            place=MultivariateNormal(place[..., :2], scale_tril=tril, validate_args=False),
            rotation=self.rotations.density(rotation, sight),
            appearance=self.appearance.posterior(appearance),
        )

    def sample(self, observation: Observation, look: PoseLook) -> PoseLatents:
        """Draw latents for every identity; gradients as their densities say.

        So is the component of the search where the glimpse is read, but that is no latent: a
        bound on log p(x) holds whatever the component.
        """
        q = self.posterior(observation, look.search.at(look.search.sample()), look.state)
        drawn = q.place.rsample(), q.rotation.rsample(), q.appearance.rsample()
        return self._latents(q, _seen(observation), *drawn)

    def sample_turned(self, observation: Observation, look: PoseLook, turns: int) -> TurnedLatents:
        """Draw latents for every identity, in several rotations each; gradients likewise."""
        seen = _seen(observation)
        q = self.posterior(observation, look.search.at(look.search.sample()), look.state)
        place, unit = q.place.rsample(), q.appearance.rsample()
        rotation = q.rotation.rsample()
        latents = self._latents(q, seen, place, rotation, unit)
        some = q.rotation.rsample_some(turns)
        kl = latents.kl - q.rotation.with_fixed_weights().log_prob(rotation)
        found = q.windows.centre[:, None] + place * q.windows.half_side[:, None]
        search = [look.search.log_prob(each) for each in found.detach().unbind(dim=1)]
        return TurnedLatents(
            **vars(latents),
            turned=some.rotation,
            turn_log_weight=some.log_weight,
            turned_kl=kl[..., None] + some.log_prob,
            search_log_prob=torch.stack(search, dim=1),
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
        """Take the most probable latents of every identity at a place (see :meth:`posterior`)."""
        q = self.posterior(observation, centre, state)
        modes = q.place.mean, q.rotation.modes(1)[:, :, 0], q.appearance.mean
        return self._latents(q, _seen(observation), *modes)

    def teach(self, observation: Observation, look: PoseLook, truth: TrueObjects) -> TaughtObjects:
        """Score true objects, one for each image.

        The glimpse is read at the component of the search that the truth most likely came from:
        log q of both bounds log q of the place from below. The component's place is taught by its
        own term, so the others do not move it.
        """
        camera = _seen(observation).view.camera
        normalised = self.normalised_pixels(camera, truth.position)
        joint = look.search.joint_log_prob(normalised)
        component = joint.argmax(dim=1)
        q = self.posterior(observation, look.search.at(component).detach(), look.state)
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
        return TaughtObjects(
            identity_log_prob=q.identity.log_prob(identity),
            location_log_prob=temper_gradient(location, location_std),
            rotation_log_prob=q.rotation.teach(truth.rotation, identity),
            appearance_log_prob=appearance.sum(dim=-1),
            attention_log_prob=joint.logsumexp(dim=1),
        )

    @torch.no_grad()
    def left_over(
        self, observation: Observation, states: Float[Tensor, "batch step state"], scenes: Scenes
    ) -> Float[Tensor, "batch count 3 height width"]:
        """Return what is left of images when the guide has drawn each of their first n objects.

        It looks at the true objects and draws what it takes them for, as wrong as it yet is.
        """
        row, step = (scenes.identity != ABSENT).nonzero(as_tuple=True)
        centre = self.normalised_pixels(scenes.camera[row], scenes.position[row, step])
        part = observation[row]
        q = self.posterior(part, centre.clamp(-1, 1), states[row, step])
        drawn = q.place.rsample(), q.rotation.rsample(), q.appearance.rsample()
        latents, identity = self._latents(q, _seen(part), *drawn), q.identity.sample()
        index = torch.arange(len(row), device=row.device), identity
        view = _seen(observation).view
        painted = Scenes(
            scenes.identity.index_put((row, step), identity),
            scenes.position.index_put((row, step), latents.position[index]),
            scenes.rotation.index_put((row, step), latents.rotation[index]),
            scenes.scale.index_put((row, step), latents.scale[index]),
            scenes.colour.index_put((row, step), latents.colour[index]),
            view.camera,
            view.light,
        )
        return self.decoder.left_over_before(observation.images, painted)

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

    def _window(self, centre: Float[Tensor, "batch 2"], camera: Camera) -> tuple[Windows, Tensor]:
        """Return the window around a place in the image, and the axes of its line of sight."""
        depth = self.depth_at(centre, camera)[:, None]
        focal = camera.intrinsics[:, [0, 1], [0, 1]]
        half_side = focal * self.glimpse_radius / depth.clamp(min=0.1) / self.half_image
        pixels = ((centre + 1) * self.half_image)[:, None]
        return Windows(centre, half_side), sight_frames(camera, pixels)[:, 0]


def _seen(observation: Observation) -> SeenView:
    assert observation.seen is not None, "poses are found before a camera"
    return observation.seen
