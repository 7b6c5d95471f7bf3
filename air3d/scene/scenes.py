"""A batch of scenes: what is there, seen from where, under which light."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from air3d.geometry import Camera, rigid_transform, transform_points, yaw_rotation
from air3d.scene.lights import Light

ABSENT = -1

_OF_OBJECTS = ("identity", "position", "rotation", "scale", "colour")


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes of at most N objects.

    Attributes:
        identity: index of each object's mesh [B, N]; ``ABSENT`` (-1) where there is none.
            The objects of a scene come first, absent ones last.
        position: of the object's origin, world frame, metres [B, N, 3].
        rotation: from the object's axes to the world's [B, N, 3, 3].
        scale: factor of the mesh's size [B, N].
        colour: multiplies the mesh's own colours [B, N, 3].
        camera: of each scene.
        light: of each scene.
    """

    identity: Int[Tensor, "batch object"]
    position: Float[Tensor, "batch object 3"]
    rotation: Float[Tensor, "batch object 3 3"]
    scale: Float[Tensor, "batch object"]
    colour: Float[Tensor, "batch object 3"]
    camera: Camera
    light: Light

    @property
    def object_to_world(self) -> Float[Tensor, "batch object 4 4"]:
        """The objects' poses, without their scale; gradients reach position and rotation."""
        return rigid_transform(self.rotation, self.position)

    @property
    def yaw(self) -> Float[Tensor, "batch object"]:
        """How far upright objects are turned about z, radians in [-pi, pi]."""
        return torch.atan2(self.rotation[..., 1, 0], self.rotation[..., 0, 0])

    @property
    def count(self) -> Int[Tensor, " batch"]:
        """Number of objects in each scene."""
        return (self.identity != ABSENT).sum(dim=1)

    def __len__(self) -> int:
        return len(self.identity)

    def __getitem__(self, rows: slice | Shaped[Tensor, " row"]) -> "Scenes":
        """Return some of the scenes, as a batch."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Scenes(*(value[rows] for value in fields))

    def present(self) -> "Scenes":
        """Return a single scene without its absent objects."""
        count = int(self.count)
        objects = {name: getattr(self, name)[:, :count] for name in _OF_OBJECTS}
        return dataclasses.replace(self, **objects)

    def near_to_far(self) -> "Scenes":
        """Order each scene's objects by their depth from the camera, absent ones last."""
        return self.pick(self.order_from_near())

    def order_from_near(self) -> Int[Tensor, "batch object"]:
        """Return the objects' numbers by their depth from the camera, absent ones last."""
        depth = transform_points(self.camera.world_to_camera, self.position)[..., 2]
        return depth.masked_fill(self.identity == ABSENT, math.inf).argsort(dim=1)

    def pick(self, order: Int[Tensor, "batch slot"]) -> "Scenes":
        """Return scenes of some of the objects, by their numbers; ``ABSENT`` (-1) for none."""
        row = torch.arange(len(self), device=order.device)[:, None]
        index = order.clamp(min=0)
        objects = {name: getattr(self, name)[row, index] for name in _OF_OBJECTS}
        objects["identity"] = objects["identity"].masked_fill(order == ABSENT, ABSENT)
        return dataclasses.replace(self, **objects)

    def beside(self, others: "Scenes") -> "Scenes":
        """Return the scenes with the objects of ``others`` put after their own."""
        objects = {
            name: torch.cat([getattr(self, name), getattr(others, name)], dim=1)
            for name in _OF_OBJECTS
        }
        return dataclasses.replace(self, **objects)

    def to(self, device: torch.device | str) -> "Scenes":
        """Return the same scenes on another device."""
        fields = (getattr(self, field.name) for field in dataclasses.fields(self))
        return Scenes(*(value.to(device) for value in fields))


def choose(wins: Bool[Tensor, " batch"], one: Scenes, other: Scenes) -> Scenes:
    """Return for each scene ``one`` where it ``wins``, else ``other``, of as many objects."""
    row = torch.arange(len(wins), device=wins.device)
    return concatenate([one, other])[torch.where(wins, row, row + len(wins))]


def concatenate(several: Sequence[Scenes]) -> Scenes:
    """Put batches of scenes, of the same number of objects and image size, into one."""

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(some, name) for some in several])

    return Scenes(
        **{name: joined(name) for name in _OF_OBJECTS},
        camera=Camera.concatenate([some.camera for some in several]),
        light=Light.concatenate([some.light for some in several]),
    )


def upright_scenes(
    identity: Int[Tensor, "batch object"],
    position: Float[Tensor, "batch object 3"],
    yaw: Float[Tensor, "batch object"],
    *,
    camera: Camera,
    light: Light,
) -> Scenes:
    """Return scenes of upright, white objects of their meshes' size; gradients are kept.

    Args:
        identity, position: as in :class:`Scenes`.
        yaw: radians about z.
        camera, light: one for each scene, or one for all.
    """
    batch = len(identity)
    return Scenes(
        identity,
        position,
        yaw_rotation(yaw),
        torch.ones_like(yaw),
        torch.ones_like(position),
        camera if len(camera) == batch else camera.expand(batch),
        light if len(light) == batch else light.expand(batch),
    )
