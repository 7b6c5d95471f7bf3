"""The ELBO alone, from new weights: from a few blurred pixels and much noise to the model itself.

The ELBO's gradient says how a pose should move, and from new weights that is not enough. Where to
look for an object and which side it shows are choices that carry no gradient; a kind that looks
the same from all sides wins the image before another has learned to turn; and an edge pulls only
what is near. So, to begin with,

* each image has several draws, and the choices learn from the draws' responsibilities
  (:mod:`air3d.objectives.responsibilities`);
* poses, too, follow the gradient by responsibilities, not by q, and every kind keeps a share;
* the likelihood is that of small pictures, rendered softly, under much noise (its power 1 / T).

All of this falls off until the objective is the bound of log p(x) under the scene file's own
sharpness and noise. Nothing but images is looked at.
"""

import functools
import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from air3d.models import Air
from air3d.models.latents import PoseLatents, TurnedLatents
from air3d.models.pull_in import Sharpness, coarsen
from air3d.models.unrolled import Unrolled
from air3d.objectives import (
    Explanations,
    StepTerms,
    draw_identities,
    enumerate_swaps,
    responsibilities,
    shared_out,
)
from air3d.scene import SceneSpec
from air3d.training.leash import Leash
from air3d.training.loop import Loss


@dataclass(frozen=True)
class FromScratch:
    """What `--phase wake` without --init begins with, and when it ends."""

    draws: int = 2
    """Explanations that are drawn of each image."""
    turns: int = 6
    """Rotations in which each kind is tried in each of them."""
    temperature: float = 1000.0
    """The log-likelihood is divided by this at first; falls to 1 geometrically."""
    floor: float = 0.5
    """Share of the poses' gradient that kinds have in equal parts at first; falls to 0."""
    cooled: float = 0.8
    """Share of the training after which temperature and floor are gone."""
    halvings: int = 2
    """How often images are halved at first."""
    sigma: float = 4e-3
    """Softness of edges at first; falls to the scene file's geometrically."""
    gamma: float = 0.1
    """Softness in depth at first, likewise."""
    sharp: float = 0.6
    """Share of the training after which images are large and sharp."""
    reach: float = 1000.0
    """Longest gradient that a pose follows, nats per diameter or radian; longer ones are cut."""
    push: float = 2.0
    """What such a longest gradient counts beside what teaches the choices."""

    def __post_init__(self):
        for name, least, most in (
            ("draws", 1, math.inf),
            ("turns", 1, 24),
            ("temperature", 1.0, math.inf),
            ("floor", 0.0, 1.0),
            ("cooled", 1e-6, 1.0),
            ("halvings", 0, 16),
            ("sigma", 1e-8, 1.0),
            ("gamma", 1e-8, 1.0),
            ("sharp", 1e-6, 1.0),
            ("reach", 1e-6, math.inf),
            ("push", 0.0, math.inf),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(
                    f"--from-scratch.{name}: must be {least:g} to {most:g}, got {value}"
                )

    def warmth(self, spec: SceneSpec, progress: float) -> "Warmth":
        """Return how things stand at a share ``progress`` (0 to 1) of the training."""
        left = max(0.0, 1.0 - progress / self.cooled)
        blurred = max(0.0, 1.0 - progress / self.sharp)
        render = spec.render
        softness = render.model_copy(
            update={
                "sigma": render.sigma * max(1.0, self.sigma / render.sigma) ** blurred,
                "gamma": render.gamma * max(1.0, self.gamma / render.gamma) ** blurred,
            }
        )
        sharpness = Sharpness(softness, math.ceil(blurred * self.halvings))
        return Warmth(sharpness, self.temperature**left, self.floor * left)


@dataclass(frozen=True)
class Warmth:
    """How far the objective is from the bound of log p(x).

    Attributes:
        sharpness: of the pictures that are compared.
        temperature: by which their log-likelihood is divided.
        floor: share of the poses' gradient that kinds have in equal parts.
    """

    sharpness: Sharpness
    temperature: float
    floor: float


def from_scratch_loss(
    model: Air,
    images: Float[Tensor, "batch 3 height width"],
    count_log_prior: Float[Tensor, " count"],
    settings: FromScratch,
    progress: float,
) -> Loss:
    """Return a loss whose gradient teaches poses and choices from unlabelled images.

    Its value is no bound. Poses and views get the gradient of log p(x, z | h) / q(z | h) by
    shares of the explanations; counts, identities, where to look and how things are turned are
    taught to be as probable as their responsibilities.

    Args:
        model: of a scene file.
        images: [B, 3, H, W].
        count_log_prior: log p(n), n = 0..N.
        settings: where to begin.
        progress: how far the training is, 0 to 1.
    """
    warmth = settings.warmth(model.scene_decoder.spec, progress)
    several = _Several.drawn(model, images, settings)
    leash = Leash.on(model, several.each)
    coarse = coarsen(images, warmth.sharpness.level).repeat_interleave(settings.draws, dim=0)
    log_likelihood = model.scene_decoder.coarse_log_likelihood(
        coarse,
        leash.unrolled,
        several.explanations.hypotheses,
        several.explanations.drawn,
        warmth.sharpness,
    )
    warm = log_likelihood / warmth.temperature
    log_weight = several.log_weight(warm.detach(), count_log_prior.to(images.device))
    posterior = responsibilities(log_weight, settings.draws)
    spread = shared_out(log_weight, several.explanations, settings.draws)
    share = (1 - warmth.floor) * posterior + warmth.floor * spread
    of_each = several.explanations.per_candidate(share)
    pull = leash.pull((share * warm).sum(), of_each, settings.reach)
    kl = (share * several.kl()).sum()
    value = settings.push / settings.reach * (pull - kl) + several.choices(posterior, share)
    figures = {
        "temperature": warmth.temperature,
        "side": coarse.shape[-1],
        "log_likelihood": (posterior * log_likelihood.detach()).sum() / len(images),
        "kl_latents": kl.detach() / len(images),
    }
    return Loss(-value / len(images), figures, {"images": images})


@dataclass(frozen=True)
class _Several:
    """What the guide drew of images, several times each, in several rotations.

    Attributes:
        turned: as it was drawn.
        each: the same, with every rotation of an identity as an identity of its own.
        explanations: the hypotheses around the draws.
        turns: rotations of each identity.
    """

    turned: Unrolled[TurnedLatents]
    each: Unrolled[PoseLatents]
    explanations: Explanations
    turns: int

    @classmethod
    def drawn(
        cls, model: Air, images: Float[Tensor, "batch 3 height width"], settings: FromScratch
    ) -> "_Several":
        """Draw from a model's guide."""
        turns = settings.turns
        draw = functools.partial(model.pose_head.sample_turned, turns=turns)
        turned = model.guide.sample_often(images, settings.draws, draw)
        latents = turned.latents.as_identities()
        identities = turns * len(model.meshes)
        hypotheses = enumerate_swaps(model.max_steps, identities).to(images.device)
        drawn = draw_identities(latents.identity_log_prob)
        return cls(
            turned,
            Unrolled(turned.presence_logits, latents, turned.seen, turned.canvas),
            Explanations(hypotheses, drawn, identities, turns),
            turns,
        )

    def log_weight(
        self,
        log_likelihood: Float[Tensor, "row hypothesis"],
        count_log_prior: Float[Tensor, " count"],
    ) -> Float[Tensor, "row hypothesis"]:
        """Return what each explanation is worth; no gradients."""
        latents, seen = self.each.latents, self.each.seen
        assert seen is not None, "meshes are seen by a camera"
        steps = StepTerms(self.each.presence_logits, latents.identity_log_prob, latents.kl)
        weight = self.explanations.log_weight(log_likelihood, steps, count_log_prior)
        return (weight - seen.kl[:, None]).detach()

    def kl(self) -> Float[Tensor, "row hypothesis"]:
        """Return log q - log p of the latents of each explanation."""
        assert self.each.seen is not None, "meshes are seen by a camera"
        return self.explanations.total(self.each.latents.kl) + self.each.seen.kl[:, None]

    def choices(
        self,
        posterior: Float[Tensor, "row hypothesis"],
        share: Float[Tensor, "row hypothesis"],
    ) -> Float[Tensor, ""]:
        """Return the log-probability of what the explanations chose, summed over them.

        Counts and identities count by their responsibilities; where to look and how things are
        turned by the share that their kind has, also where another kind is likelier.
        """
        latents, seen = self.turned.latents, self.turned.seen
        assert seen is not None, "meshes are seen by a camera"
        kind = self._for_each_turn(latents.identity_log_prob)
        steps = StepTerms(self.turned.presence_logits, kind, self.each.latents.kl)
        free = latents.turn_log_weight.flatten(-2) + self._for_each_turn(latents.attention_log_prob)
        free = self.explanations.total(free) + seen.choice_log_prob[:, None]
        return (posterior * self.explanations.log_prob(steps)).sum() + (share * free).sum()

    def _for_each_turn(
        self, per_identity: Float[Tensor, "row step identity"]
    ) -> Float[Tensor, "row step candidate"]:
        return per_identity.repeat_interleave(self.turns, dim=2)
