"""The 3D head of the guide: which mesh, where on its plane, and how turned.

The recurrent state points at the object (a coarse window); a glimpse is read there, its size
normalised by depth; the glimpse decides identity, place and yaw. Place is a normal density in
the image, where errors look alike everywhere, carried to the plane by the camera; yaw is
counted from the line of sight, so that the same glimpse means the same yaw everywhere.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Categorical, MultivariateNormal, Normal

from air3d.geometry import Camera, pixel_rays, plane_log_det, project, unproject_to_plane
from air3d.models.attention import Windows, read_glimpse
from air3d.models.encoder import conv_encoder
from air3d.models.guide import Head
from air3d.models.latents import PoseLatents, TaughtPose
from air3d.models.yaw import YawMixture, symmetry_orders
from air3d.scene import Mesh, ScenePrior, SceneSpec, camera_of

GLIMPSE_MARGIN = 1.5
"""Side of the glimpse in diameters of the largest mesh."""

NUM_YAW_MODES = 4


@dataclass(frozen=True)
class TrueObject:
    """One object of each scene of a batch, as the sleep phase knows it.

    Attributes:
        identity: [B]; ``ABSENT`` where the scene has no such object.
        position: world, metres [B, 3].
        yaw: radians [B].
    """

    identity: Int[Tensor, " batch"]
    position: Float[Tensor, "batch 3"]
    yaw: Float[Tensor, " batch"]


@dataclass(frozen=True)
class PosePosterior:
    """q(identity, place, yaw | x) of one object, a place and a yaw for each of M identities.

    Attributes:
        attention: coarse normal density of the place in the image, normalised pixels [B, 2].
        windows: where the glimpse was read.
        identity: q(k | x).
        place: normal density in the window's coordinates [B, M, 2].
        yaw: mixture [B, M].
    """

    attention: Normal
    windows: Windows
    identity: Categorical
    place: MultivariateNormal
    yaw: YawMixture


class PoseHead(Head):
    """Point, look, and say what is there.

    Args:
        spec: the scene file, for its camera.
        meshes: its meshes; M of them.
        prior: p(pose), for the KL.
        state_size: width of the guide's recurrent state.
        glimpse_size: side of the glimpse, pixels.
        channels: of the glimpse's encoder, one halving each.
        hidden: width of the hidden layers.
        yaw_bins: components of the yaw's mixture.
    """

    rest_height: Tensor
    order: Tensor
    half_image: Tensor

    def __init__(
        self,
        spec: SceneSpec,
        meshes: tuple[Mesh, ...],
        prior: ScenePrior,
        state_size: int,
        *,
        glimpse_size: int,
        channels: tuple[int, ...],
        hidden: int,
        yaw_bins: int,
    ):
        super().__init__()
        self.prior = prior
        self.camera = camera_of(spec)
        self.glimpse_size = glimpse_size
        self.yaw_bins = yaw_bins
        self.num_identities = len(meshes)
        self.num_memory = self.num_identities + 2
        self.glimpse_radius = 0.5 * GLIMPSE_MARGIN * max(mesh.diameter for mesh in meshes)
        self.attend = nn.Linear(state_size, 4)
        self.look = conv_encoder(spec.num_channels, (glimpse_size, glimpse_size), channels, hidden)
        outputs = self.num_identities * (1 + 5 + 3 * yaw_bins)
        self.tell = nn.Sequential(
            nn.Linear(hidden + 4, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
        )
        height, width = spec.image_size
        constants = {
            "rest_height": prior.rest_height,
            "order": symmetry_orders([mesh.yaw_symmetry for mesh in meshes]),
            "half_image": torch.tensor([width / 2, height / 2]),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def posterior(
        self,
        images: Float[Tensor, "batch channel height width"],
        state: Float[Tensor, "batch state"],
        *,
        fixed_window: bool = False,
    ) -> PosePosterior:
        """Return q of the next object; ``fixed_window`` stops gradients to the glimpse's window."""
        camera = self._camera(len(images))
        loc, raw_scale = self.attend(state).chunk(2, dim=-1)
        attention = Normal(loc, nn.functional.softplus(raw_scale) + 1e-3, validate_args=False)
        centre = (loc.detach() if fixed_window else loc).clamp(-1, 1)
        windows, sight = self._window(centre, camera)
        features = self.look(read_glimpse(images, windows, self.glimpse_size))
        context = torch.cat(
            [features, windows.centre, sight[:, None].cos(), sight[:, None].sin()], 1
        )
        out = self.tell(context).reshape(len(images), self.num_identities, -1)
        scale = nn.functional.softplus(out[..., 3:5] - 2.0) + 3e-3
        tril = torch.diag_embed(scale)
        tril[..., 1, 0] = out[..., 5] * scale[..., 1]
        shape = out.shape[:2]
        return PosePosterior(
            attention=attention,
            windows=windows,
            identity=Categorical(logits=out[..., 0], validate_args=False),
            place=MultivariateNormal(out[..., 1:3], scale_tril=tril, validate_args=False),
            yaw=YawMixture.from_raw(
                out[..., 6:].unflatten(-1, (self.yaw_bins, 3)),
                sight[:, None].expand(shape),
                self.order.expand(shape),
            ),
        )

    def sample(self, images: Tensor, state: Tensor) -> PoseLatents:
        """Draw a place and a yaw for every identity; gradients as their densities say."""
        posterior = self.posterior(images, state)
        return self._latents(posterior, posterior.place.rsample(), posterior.yaw.rsample())

    def mode(self, images: Tensor, state: Tensor) -> PoseLatents:
        """Take the most probable place and yaw of every identity."""
        posterior = self.posterior(images, state)
        return self._latents(posterior, posterior.place.mean, posterior.yaw.modes(1)[..., 0])

    def teach(self, images: Tensor, state: Tensor, truth: TrueObject) -> TaughtPose:
        """Score the true object; where it is absent the scores are finite and mean nothing.

        The window is taught by its own term, so the others do not move it.
        """
        posterior = self.posterior(images, state, fixed_window=True)
        identity = truth.identity.clamp(min=0)
        row = torch.arange(len(identity), device=identity.device)
        pixels = project(self._camera(len(images)), truth.position[:, None]).pixels[:, 0]
        normalised = pixels / self.half_image - 1
        place = (normalised - posterior.windows.centre) / posterior.windows.half_side
        repeated = place[:, None].expand(-1, self.num_identities, 2)
        yaw = truth.yaw[:, None].expand(-1, self.num_identities)
        known = nn.functional.one_hot(identity, self.num_identities)
        location = posterior.place.log_prob(repeated)[row, identity]
        location_std = posterior.place.scale_tril.diagonal(dim1=-2, dim2=-1)[row, identity]
        attention = posterior.attention.log_prob(normalised).sum(dim=-1)
        return TaughtPose(
            identity_log_prob=posterior.identity.log_prob(identity),
            location_log_prob=_temper_gradient(location, location_std),
            yaw_log_prob=posterior.yaw.log_prob(yaw)[row, identity],
            attention_log_prob=_temper_gradient(attention, posterior.attention.stddev),
            memory=torch.cat([known.to(normalised.dtype), normalised], dim=-1),
        )

    def _latents(
        self,
        posterior: PosePosterior,
        place: Float[Tensor, "batch identity 2"],
        yaw: Float[Tensor, "batch identity"],
    ) -> PoseLatents:
        """Carry places in the windows to the plane, with their densities."""
        camera = self._camera(len(place))
        half_side = posterior.windows.half_side[:, None] * self.half_image
        pixels = (posterior.windows.centre[:, None] + 1) * self.half_image + place * half_side
        height = self.rest_height.expand(pixels.shape[:2])
        position = unproject_to_plane(camera, pixels, height)
        log_det = plane_log_det(camera, position) - half_side.log().sum(dim=-1)
        log_q = posterior.place.log_prob(place) + log_det
        log_q = log_q + posterior.yaw.with_fixed_weights().log_prob(yaw)
        to_pixels = torch.diag_embed(half_side)
        covariance = to_pixels @ posterior.place.covariance_matrix @ to_pixels
        probability = posterior.identity.probs
        found = (probability[..., None] * pixels).sum(dim=1) / self.half_image - 1
        return PoseLatents(
            position=position,
            yaw=yaw,
            yaw_modes=posterior.yaw.modes(NUM_YAW_MODES),
            pixel_covariance=covariance,
            kl=log_q - self.prior.log_prob_pose(position),
            identity_log_prob=posterior.identity.logits,
            found=found,
        )

    def _window(self, centre: Float[Tensor, "batch 2"], camera: Camera) -> tuple[Windows, Tensor]:
        """Return the window around a place in the image, and the azimuth of its line of sight."""
        pixels = ((centre + 1) * self.half_image)[:, None]
        height = self.rest_height.mean().expand(len(centre), 1)
        depth = project(camera, unproject_to_plane(camera, pixels, height)).depth
        focal = camera.intrinsics[:, [0, 1], [0, 1]]
        half_side = focal * self.glimpse_radius / depth.clamp(min=0.1) / self.half_image
        ray = pixel_rays(camera, pixels)[:, 0]
        return Windows(centre, half_side), torch.atan2(ray[:, 1], ray[:, 0])

    def _camera(self, batch: int) -> Camera:
        return self.camera.to(self.half_image.device).expand(batch)


def _temper_gradient(
    log_prob: Float[Tensor, " batch"], std: Float[Tensor, "batch 2"]
) -> Float[Tensor, " batch"]:
    """Keep a normal log-density's value, multiply its gradient by its own standard deviation.

    A sharp normal's gradient grows as 1 / std and would drown those of identity and yaw in the
    layers they share. This is the beta-NLL of Seitzer et al. 2022 with beta = 1/2.
    """
    weight = std.detach().log().mean(dim=-1).exp()
    return log_prob.detach() + weight * (log_prob - log_prob.detach())


def standard_deviations_on_plane(
    camera: Camera,
    position: Float[Tensor, "batch 3"],
    pixel_covariance: Float[Tensor, "batch 2 2"],
) -> Float[Tensor, "batch 2"]:
    """Carry a covariance of (u, v) to standard deviations of (x, y), to first order."""
    pixels = project(camera, position[:, None]).pixels
    one_pixel = torch.eye(2, device=pixels.device)
    moved = unproject_to_plane(camera, pixels + one_pixel, position[:, 2:].expand(-1, 2))
    jacobian = (moved - position[:, None])[..., :2].transpose(-1, -2)
    covariance = jacobian @ pixel_covariance @ jacobian.transpose(-1, -2)
    return covariance.diagonal(dim1=-2, dim2=-1).sqrt()
