"""The prior over scenes, as a scene file states it: p(n), p(identity), p(pose), p(view)."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.scene.assets import Mesh
from air3d.scene.placing import log_prob_apart, place_apart
from air3d.scene.rotation_prior import FreePrior, RotationPrior, UprightPrior
from air3d.scene.scenes import ABSENT, Scenes
from air3d.scene.soft_box import SoftBox
from air3d.scene.spec import SceneSpec
from air3d.scene.view_prior import ViewPrior


class ScenePrior:
    """p(scene) of a scene file: sample scenes and score them.

    Attributes:
        view: p(camera, light).
        rotation: p(rotation) of an object.
        rest_height: of each mesh's origin above the plane, at scale 1 [M].
        reach: of each mesh along the plane, likewise [M].
        xy: density of a place on the plane (1 / m^2), as if there were no other object: where the
            scene file wants a gap, that between objects lowers the volume by a factor that is
            left out.
        scale, colour: density of an object's; None where the scene file fixes it.

    Args:
        spec: the scene file.
        meshes: its meshes, for the heights at which they stand and the room they need.
    """

    def __init__(self, spec: SceneSpec, meshes: tuple[Mesh, ...]):
        self.spec = spec
        self.max_count = len(spec.objects.count) - 1
        self.num_identities = len(meshes)
        self.log_count = torch.tensor(spec.objects.count).log()
        objects = spec.objects
        free = objects.rotation == "free"
        self.rotation: RotationPrior = FreePrior() if free else UprightPrior()
        self.rest_height = torch.tensor([self.rotation.height(mesh) for mesh in meshes])
        self.reach = torch.tensor([self.rotation.reach(mesh) for mesh in meshes])
        self.view = ViewPrior(spec)
        self.xy = SoftBox.of([objects.x, objects.y])
        self.scale = SoftBox.of([objects.scale]) if objects.scale else None
        self.colour = SoftBox.of([objects.colour] * 3) if objects.colour else None

    def sample(self, batch: int, generator: torch.Generator) -> Scenes:
        """Draw scenes on the CPU; the same generator state gives the same scenes.

        Raises:
            ValueError: the scene file's objects do not fit on the plane with their gap.
        """
        weights = self.log_count.exp().expand(batch, -1)
        count = torch.multinomial(weights, 1, generator=generator)
        absent = torch.arange(self.max_count) >= count
        identity = self._identities(batch, generator)
        scale = torch.ones(batch, self.max_count)
        if self.scale is not None:
            scale = self.scale.sample(scale.shape, generator)[..., 0]
        radius = (self.reach[identity] * scale).masked_fill(absent, -math.inf)
        xy = place_apart(self.xy, radius, self.spec.objects.gap, generator)
        rotation = self.rotation.sample(tuple(identity.shape), generator)
        height = self.rest_height[identity] * scale
        colour = torch.ones_like(identity, dtype=torch.float32)[..., None].expand(-1, -1, 3)
        if self.colour is not None:
            colour = self.colour.sample(identity.shape, generator)
        view = self.view.view(self.view.sample(batch, generator))
        return Scenes(
            identity=identity.masked_fill(absent, ABSENT),
            position=torch.cat([xy, height[..., None]], dim=-1),
            rotation=rotation,
            scale=scale,
            colour=colour,
            camera=view.camera,
            light=view.light,
        )

    def log_prob_pose(self, position: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Return the log-density of an object's place on the plane (1/m^2) and any rotation.

        Gradients reach ``position``.
        """
        return self.xy.log_prob(position[..., :2]) + self.rotation.log_density

    def log_prob_kinds(self, scenes: Scenes) -> Float[Tensor, " batch"]:
        """Return log p(count, identities), were there no rule about repeats to be broken."""
        kinds = torch.full((self.max_count,), float(self.num_identities))
        if not self.spec.objects.repeats:
            kinds = kinds - torch.arange(self.max_count)
        log_choices = torch.cat([torch.zeros(1), kinds.log().cumsum(dim=0)])
        return (self.log_count - log_choices).to(scenes.scale)[scenes.count]

    def log_prob_pairs(self, some: Scenes, others: Scenes) -> Float[Tensor, "batch object other"]:
        """Return by how much pairs of objects are less probable together than each by itself.

        0 where they keep the scene file's gap (see :func:`~air3d.scene.placing.log_prob_apart`)
        and where one is absent; minus infinity for two of a kind where none may be repeated.
        """
        gap = self.spec.objects.gap
        pairs = log_prob_apart(*self._circles(some), *self._circles(others), gap)
        if self.spec.objects.repeats:
            return pairs
        same = some.identity[:, :, None] == others.identity[:, None]
        both = (some.identity != ABSENT)[:, :, None]
        return pairs.masked_fill(same & both, -math.inf)

    def _circles(self, scenes: Scenes) -> tuple[Tensor, Tensor]:
        """Return the places and radii of the circles that bound objects."""
        radius = self.reach.to(scenes.scale)[scenes.identity] * scenes.scale
        radius = radius.masked_fill(scenes.identity == ABSENT, -math.inf)
        return scenes.position[..., :2], radius

    def _identities(self, batch: int, generator: torch.Generator) -> Int[Tensor, "batch object"]:
        shape = (batch, self.max_count)
        if self.spec.objects.repeats:
            return torch.randint(self.num_identities, shape, generator=generator)
        order = torch.rand(batch, self.num_identities, generator=generator).argsort(dim=1)
        return order[:, : self.max_count]
