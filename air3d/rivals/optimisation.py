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
from jaxtyping import Float, Int
from torch import Tensor

from air3d.estimate import SceneEstimate
from air3d.inference.estimating import scene_estimates, sure_of
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
        scenes = self._grown(images, self._nothing(images))
        shown = self._decoder.image(scenes)
        return scene_estimates(self._decoder, images, scenes, sure_of(scenes), shown)

    @property
    def _number(self) -> int:
        """How many starts there are of an image."""
        return self._restarts.starts * len(self.meshes)

    def _nothing(self, images: Tensor) -> Scenes:
        """Return scenes without objects, seen from where that is likeliest."""
        drawn = self._draw(len(images))
        nothing = drawn.pick(torch.zeros(len(drawn), 0, dtype=torch.int64))
        if not self._prior.view.unknowns:
            return nothing[: len(images)]
        return self._likeliest_climbed(images, nothing)

    def _grown(self, images: Tensor, scenes: Scenes) -> Scenes:
        """Add one object after the other to each scene, as long as that explains enough."""
        if scenes.identity.shape[1] == self._prior.max_count:
            return scenes
        drawn = self._draw(len(images))
        known = scenes[torch.arange(len(images)).repeat_interleave(self._number)]
        more = self._likeliest_climbed(images, known.beside(drawn))
        rows = (self._score(images, more) > self._score(images, scenes)).nonzero()[:, 0]
        grown = self._with_all_slots(scenes, drawn[: len(images)])
        if len(rows) == 0:
            return grown
        place = torch.arange(len(images))
        place[rows] = len(images) + torch.arange(len(rows))
        return concatenate([grown, self._grown(images[rows], more[rows])])[place]

    def _with_all_slots(self, scenes: Scenes, filler: Scenes) -> Scenes:
        """Give each scene as many slots as the prior has; what is new in them is absent."""
        number, slots = scenes.identity.shape[1], torch.arange(self._prior.max_count)
        order = slots.masked_fill(slots >= number, ABSENT).expand(len(scenes), -1)
        return scenes.beside(filler).pick(order)

    def _draw(self, batch: int) -> Scenes:
        """Draw all starts of each image: scenes of one object, as many of each kind."""
        starts, kinds = self._restarts.starts, len(self.meshes)
        drawn = [prior.sample(batch * starts, self._generator) for prior in self._alone]
        kind = torch.arange(kinds).repeat_interleave(batch * starts)[:, None]
        by_kind = torch.arange(len(kind)).unflatten(0, (kinds, batch, starts))
        by_image = by_kind.movedim(0, 1).flatten()
        return dataclasses.replace(concatenate(drawn), identity=kind)[by_image]

    def _likeliest_climbed(self, images: Tensor, starts: Scenes) -> Scenes:
        """Let the starts that explain most climb; return the likeliest of each image."""
        climbers = min(self._restarts.climbers or self._number, self._number)
        chosen = starts[_best(self._score(images, starts), len(images), climbers)]
        copies = images.repeat_interleave(climbers, dim=0)
        chosen = try_lights(self._decoder, copies, chosen)
        climbed = refine(self._decoder, copies, chosen, self._restarts.steps)
        return climbed[_best(self._score(images, climbed), len(images), 1)]

    def _score(self, images: Tensor, scenes: Scenes) -> Float[Tensor, " scene"]:
        """Return log p(x, what is discrete | numbers), less what an object's numbers must be worth.

        That is half the logarithm of the image's values for each (Schwarz's criterion, 1978).
        """
        copies = images.repeat_interleave(len(scenes) // len(images), dim=0)
        pairs = self._prior.log_prob_pairs(scenes, scenes).triu(diagonal=1).sum(dim=(1, 2))
        discrete = self._prior.log_prob_kinds(scenes) + pairs
        numbers = Moves(self._decoder, scenes).per_object * scenes.count
        price = 0.5 * numbers * math.log(images[0].numel())
        return log_likelihood(self._decoder, copies, scenes) + discrete - price


def _best(scores: Float[Tensor, " scene"], batch: int, number: int) -> Int[Tensor, " chosen"]:
    """Return the numbers of each image's best scenes; those of an image stand together."""
    grouped = scores.unflatten(0, (batch, -1))
    first = torch.arange(batch)[:, None] * grouped.shape[1]
    return (first + grouped.topk(number, dim=1).indices).flatten()


def _one_of(spec: SceneSpec, index: int) -> SceneSpec:
    """Return the scene file that has one object, of one kind."""
    kind = spec.objects.types[index]
    objects = spec.objects.model_copy(update={"count": (0.0, 1.0), "types": (kind,)})
    return spec.model_copy(update={"objects": objects})
