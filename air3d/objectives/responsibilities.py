"""How much each of several drawn explanations accounts for an image.

From scratch q(z | x) cannot be trusted to weigh its own draws: whatever is easiest to explain with
wins before the rest is learned. What an explanation (draw z_s, hypothesis h) is worth is said by

    w_sh = p(x | h, z_s) p(h, z_s) / q(z_s, and whatever of h was drawn)

and its share of the sum over an image's draws and hypotheses is its responsibility. It is the
posterior as importance weights see it (reweighted wake-sleep, Bornschein and Bengio 2015), with one
object's identity summed out at a time (``enumerate_swaps``). The mean of w bounds p(x) from below,
more closely than the ELBO, and raising log p(x, h, z_s) by responsibilities raises the bound.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from air3d.objectives.elbo import StepTerms
from air3d.objectives.presence import NO_OBJECT, count_log_prob


@dataclass(frozen=True)
class Explanations:
    """H hypotheses around each of R draws, those of one image one after the other.

    Attributes:
        hypotheses: rows of ``enumerate_swaps`` [H, N].
        drawn: the identities that its rows leave to the draw [R, N].
        num_identities: M, of which each ``turns`` that follow one another are one kind.
        turns: of each kind.
    """

    hypotheses: Int[Tensor, "hypothesis step"]
    drawn: Int[Tensor, "row step"]
    num_identities: int
    turns: int

    @property
    def as_drawn(self) -> Bool[Tensor, "hypothesis step"]:
        """Which identities were drawn, rather than told."""
        return self.hypotheses == self.num_identities

    @property
    def count(self) -> Int[Tensor, " hypothesis"]:
        """Number of objects."""
        return (self.hypotheses != NO_OBJECT).sum(dim=1)

    @property
    def identity(self) -> Int[Tensor, "row hypothesis step"]:
        """The identities, ``NO_OBJECT`` where there is no object."""
        return torch.where(self.as_drawn, self.drawn[:, None], self.hypotheses)

    @property
    def holds(self) -> Float[Tensor, "row hypothesis step identity"]:
        """1 where a hypothesis has an object of that identity, else 0."""
        known = torch.nn.functional.one_hot(self.identity.clamp(min=0), self.num_identities)
        return (known * (self.identity != NO_OBJECT)[..., None]).float()

    @property
    def tells(self) -> Bool[Tensor, "hypothesis kind"]:
        """Whether a hypothesis tells, rather than draws, a step's kind [H, N M / turns]."""
        kinds = torch.arange(self.num_identities // self.turns, device=self.hypotheses.device)
        kind = self.hypotheses.div(self.turns, rounding_mode="floor")
        return (kind[..., None] == kinds).flatten(1)

    def total(
        self, per_identity: Float[Tensor, "row step identity"]
    ) -> Float[Tensor, "row hypothesis"]:
        """Sum a number of each candidate over the objects that a hypothesis has."""
        return torch.einsum("rhnm,rnm->rh", self.holds.to(per_identity), per_identity)

    def per_candidate(
        self, share: Float[Tensor, "row hypothesis"]
    ) -> Float[Tensor, "row step identity"]:
        """Return the shares of all hypotheses that have a candidate, told or drawn."""
        return torch.einsum("rhnm,rh->rnm", self.holds.to(share), share)

    def log_prob(self, steps: StepTerms) -> Float[Tensor, "row hypothesis"]:
        """Return log q(h | x, z); gradients reach logits and log-probabilities."""
        log_count = count_log_prob(steps.presence_logits)[:, self.count]
        return log_count + self.total(steps.identity_log_prob)

    def log_weight(
        self,
        log_likelihood: Float[Tensor, "row hypothesis"],
        steps: StepTerms,
        count_log_prior: Float[Tensor, " count"],
    ) -> Float[Tensor, "row hypothesis"]:
        """Return log w; identities are equally probable a priori.

        Each count n > 0 has n M rows, M for each object, which are n estimates of the same.

        Args:
            log_likelihood: log p(x | h, z_s).
            steps: the guide's terms; KLs are log q - log p of the draws.
            count_log_prior: log p(n), n = 0..N.
        """
        count = self.count
        log_prior = count_log_prior[count] - count * math.log(self.num_identities)
        proposed = steps.identity_log_prob.gather(2, self.drawn[..., None])[..., 0]
        proposed = proposed @ self.as_drawn.to(proposed).T
        ways = count.clamp(min=1).to(proposed).log()
        return log_likelihood + log_prior - self.total(steps.kl) - proposed - ways


def responsibilities(
    log_weight: Float[Tensor, "row hypothesis"], draws: int
) -> Float[Tensor, "row hypothesis"]:
    """Return shares that sum to 1 over an image's draws and hypotheses."""
    return log_weight.unflatten(0, (-1, draws)).flatten(1).softmax(dim=1).reshape(log_weight.shape)


def shared_out(
    log_weight: Float[Tensor, "row hypothesis"], explanations: Explanations, draws: int
) -> Float[Tensor, "row hypothesis"]:
    """Return shares by which every kind is as important at every step, whatever it is worth.

    Each has its own responsibilities, among the hypotheses that tell it, and these are averaged. So
    a kind that explains nothing yet is posed as well as it can be, until it does.
    """
    tells = explanations.tells
    own = torch.where(tells, log_weight[..., None], -torch.inf)
    own = own.unflatten(0, (-1, draws)).flatten(1, 2).softmax(dim=1)
    return own.mean(dim=2).reshape(log_weight.shape)
