"""The prior over scenes: p(n), p(identity), p(pose), as a scene file states them."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.geometry import (
    Camera,
    look_at,
    pinhole_intrinsics,
    rigid_transform,
    transform_points,
    yaw_rotation,
)
from air3d.scene.assets import Mesh
from air3d.scene.spec import SceneSpec

ABSENT = -1
WALL = 0.02


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes of at most N objects.

    Attributes:
        identity: index of each object's mesh [B, N]; ``ABSENT`` (-1) where there is none.
            The objects of a scene come first, absent ones last.
        position: of the object's origin, world frame, metres [B, N, 3].
        yaw: about the object's z axis, radians [B, N].
    """

    identity: Int[Tensor, "batch object"]
    position: Float[Tensor, "batch object 3"]
    yaw: Float[Tensor, "batch object"]

    @property
    def object_to_world(self) -> Float[Tensor, "batch object 4 4"]:
        """The objects' poses; gradients reach ``position`` and ``yaw``."""
        return rigid_transform(yaw_rotation(self.yaw), self.position)

    @property
    def count(self) -> Int[Tensor, " batch"]:
        """Number of objects in each scene."""
        return (self.identity != ABSENT).sum(dim=1)

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, rows: slice) -> "Scenes":
        """Return some of the scenes, as a batch."""
        return Scenes(self.identity[rows], self.position[rows], self.yaw[rows])

    def near_to_far(self, camera: Camera) -> "Scenes":
        """Order each scene's objects by their depth from the camera, absent ones last."""
        depth = transform_points(camera.world_to_camera.expand(len(self), 4, 4), self.position)
        depth = depth[..., 2].masked_fill(self.identity == ABSENT, math.inf)
        order = depth.argsort(dim=1)
        position = self.position.gather(1, order[..., None].expand(-1, -1, 3))
        return Scenes(self.identity.gather(1, order), position, self.yaw.gather(1, order))

    def to(self, device: torch.device | str) -> "Scenes":
        """Return the same scenes on another device."""
        return Scenes(self.identity.to(device), self.position.to(device), self.yaw.to(device))


class ScenePrior:
    """p(scene) of a scene file: sample scenes and score them.

    Args:
        spec: the scene file.
        meshes: its meshes, for the heights at which they stand.
    """

    def __init__(self, spec: SceneSpec, meshes: tuple[Mesh, ...]):
        self.spec = spec
        self.max_count = len(spec.objects.count) - 1
        self.num_identities = len(meshes)
        self.log_count = torch.tensor(spec.objects.count).log()
        self.rest_height = torch.tensor([mesh.rest_height for mesh in meshes])
        bounds = [
            (spec.objects.x.low, spec.objects.y.low),
            (spec.objects.x.high, spec.objects.y.high),
        ]
        self.xy_bounds = torch.tensor(bounds)

    def sample(self, batch: int, generator: torch.Generator) -> Scenes:
        """Draw scenes on the CPU; the same generator state gives the same scenes."""
        weights = self.log_count.exp().expand(batch, -1)
        count = torch.multinomial(weights, 1, generator=generator)
        shape = (batch, self.max_count)
        identity = torch.randint(self.num_identities, shape, generator=generator)
        low, high = self.xy_bounds
        xy = low + (high - low) * torch.rand(*shape, 2, generator=generator)
        yaw = 2 * math.pi * torch.rand(shape, generator=generator) - math.pi
        absent = torch.arange(self.max_count) >= count
        position = torch.cat([xy, self.rest_height[identity][..., None]], dim=-1)
        return Scenes(identity.masked_fill(absent, ABSENT), position, yaw)

    def log_prob_pose(self, position: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Return the log-density of an object's place on the plane (1/m^2) and yaw (1/rad).

        Outside the bounds the density falls as a normal of standard deviation ``WALL`` (metres)
        instead of to zero: a posterior with unbounded support would have no finite ELBO
        otherwise. The walls are not counted in the normalisation. Gradients reach ``position``.
        """
        low, high = self.xy_bounds.to(position)
        outside = (position[..., :2] - position[..., :2].clamp(low, high)) / WALL
        inside = -float((high - low).log().sum()) - math.log(2 * math.pi)
        return inside - 0.5 * outside.square().sum(dim=-1)


def camera_of(spec: SceneSpec) -> Camera:
    """Return the scene file's one camera, as a batch of one."""
    world_to_camera = look_at(torch.tensor(spec.camera.eye), torch.tensor(spec.camera.target))
    intrinsics = pinhole_intrinsics(spec.camera.field_of_view, spec.image_size)
    return Camera(world_to_camera[None], intrinsics[None], spec.image_size)
