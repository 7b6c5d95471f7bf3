"""Per-image optimisation: search a scene from random starts, through the same renderer, untaught.

The other rival of the 3D scenes in Eslami et al. 2016. It has all that AIR's refinement has (soft
and coarse images first, then least squares; see ``air3d.inference.refinement``), and no network to
say where to begin: so it begins in many places that the prior draws. Several objects are found
greedily, one after the other, as long as one more explains enough.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import SceneEstimate
from air3d.inference.estimating import Certainty, scene_estimates
from air3d.inference.moves import Moves
from air3d.inference.refinement import refine
from air3d.inference.settling import log_likelihood
from air3d.inference.turning import try_lights
from air3d.models.decoders import SceneDecoder
from air3d.scene import ABSENT, Mesh, ScenePrior, Scenes, SceneSpec, concatenate


@dataclass(frozen=True)
class Restarts:
    """How much is tried for each object, and first for the view where it is open."""

    starts: int = 8
    """Random starts of each kind of object."""
    climbers: int | None = None
    """So many of the starts, those that explain most, climb; all if not given."""
    steps: int = 40
    """Of each climb, as those of --refine-steps elsewhere."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 1:
                raise ValueError(f"--{field.name} must be at least 1, got {value}")

    def __str__(self) -> str:
        """Return the same in words."""
        chosen = "all" if self.climbers is None else f"best {self.climbers}"
        return f"{self.starts} starts a kind, {chosen} climb {self.steps} steps"


class Optimiser:
    """Search the scenes of a scene file.

    Attributes:
        spec, meshes: the scene file and its meshes.

    Args:
        spec: the scene file.
        meshes: its meshes.
        restarts: how much is tried.
        seed: of the starts; one stream of random numbers for all images.
    """

    def __init__(self, spec: SceneSpec, meshes: tuple[Mesh, ...], restarts: Restarts, seed: int):
        self.spec, self.meshes = spec, meshes
        self._restarts = restarts
        self._prior = ScenePrior(spec, meshes)
        self._decoder = SceneDecoder(spec, meshes)
        self._alone = [
            ScenePrior(_one_of(spec, index), (mesh,)) for index, mesh in enumerate(meshes)
        ]
        self._generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def infer(self, images: Float[Tensor, "batch 3 height width"]) -> list[SceneEstimate]:
        """Return the likeliest scene that was found of each image; of it the search is sure."""
        slots, filler = torch.arange(self._prior.max_count), self._draw()[:1]
        found = []
        for image in images.split(1):
            scenes = self._explain(image)
            there = torch.where(slots < scenes.count[:, None], slots, ABSENT)
            found.append(scenes.beside(filler).pick(there))
        scenes = concatenate(found)
        return scene_estimates(self._decoder, images, scenes, _sure_of(scenes))

    def _explain(self, image: Float[Tensor, "one 3 height width"]) -> Scenes:
        """Find the view with nothing on the plane, then one object after the other."""
        nothing = self._draw().pick(torch.zeros(1, 0, dtype=torch.int64))
        scenes = self._likeliest_climbed(image, nothing)
        for _ in range(self._prior.max_count):
            number = self._restarts.starts * len(self.meshes)
            known = scenes[torch.zeros(number, dtype=torch.int64)]
            more = self._likeliest_climbed(image, known.beside(self._draw()))
            if self._score(image, more) <= self._score(image, scenes):
                break
            scenes = more
        return scenes

    def _draw(self) -> Scenes:
        """Draw all starts: scenes of one object, as many of each kind."""
        drawn = [prior.sample(self._restarts.starts, self._generator) for prior in self._alone]
        kinds = torch.arange(len(drawn)).repeat_interleave(self._restarts.starts)
        return dataclasses.replace(concatenate(drawn), identity=kinds[:, None])

    def _likeliest_climbed(self, image: Tensor, starts: Scenes) -> Scenes:
        """Let the starts that explain most climb, and return the likeliest of them."""
        scores = self._score(image, starts)
        best = scores.topk(min(self._restarts.climbers or len(scores), len(scores))).indices
        images, scenes = image.expand(len(best), -1, -1, -1), starts[best]
        scenes = try_lights(self._decoder, images, scenes)
        climbed = refine(self._decoder, images, scenes, self._restarts.steps)
        return climbed[self._score(image, climbed).argmax()[None]]

    def _score(self, image: Tensor, scenes: Scenes) -> Float[Tensor, " scene"]:
        """Return log p(x, what is discrete | numbers), less what an object's numbers must be worth.

        That is half the logarithm of the image's values for each (Schwarz's criterion, 1978).
        """
        images = image.expand(len(scenes), -1, -1, -1)
        pairs = self._prior.log_prob_pairs(scenes, scenes).triu(diagonal=1).sum(dim=(1, 2))
        discrete = self._prior.log_prob_kinds(scenes) + pairs
        numbers = Moves(self._decoder, scenes).per_object * scenes.count
        price = 0.5 * numbers * math.log(image.numel())
        return log_likelihood(self._decoder, images, scenes) + discrete - price


def _one_of(spec: SceneSpec, index: int) -> SceneSpec:
    """Return the scene file that has one object, of one kind."""
    kind = spec.objects.types[index]
    objects = spec.objects.model_copy(update={"count": (0.0, 1.0), "types": (kind,)})
    return spec.model_copy(update={"objects": objects})


def _sure_of(scenes: Scenes) -> Certainty:
    """Give what was found the probability 1, and its places no spread."""
    there = (scenes.identity != ABSENT).to(scenes.scale)
    counts = torch.nn.functional.one_hot(scenes.count, scenes.identity.shape[1] + 1)
    return Certainty(
        count_probability=counts.to(there),
        presence_probability=there,
        identity_probability=there,
        position_std=torch.zeros_like(scenes.position[..., :2]),
    )
