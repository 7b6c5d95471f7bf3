"""The evidence lower bound with the count, and the identities, summed out exactly.

    ELBO = sum_h q(h) [ log p(x | h, z) + log p(h) - log q(h) - sum_{i <= n} KL_i ]

over the hypotheses h = (n, k_1, ..., k_n) of :mod:`air3d.objectives.presence`; z_where and
z_what are drawn once at every step, by reparameterisation. Every term is differentiable, so
the discrete part of the model adds no variance to the gradient (no score function, no
baseline). Eslami et al. 2016, eq. 4, estimate the same bound by sampling n.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.objectives.presence import NO_OBJECT, count_log_prob


@dataclass(frozen=True)
class StepTerms:
    """What q says of each step, given the draw.

    Attributes:
        presence_logits: of q(z_pres_i = 1 | x, z_<i) [B, N].
        identity_log_prob: log q(k_i | x, z_<i) [B, N, M]; zeros where M = 1.
        kl: KL of q(z_i | x, z_<i, k_i) from p(z_i | k_i), or an unbiased estimate of it [B, N, M].
    """

    presence_logits: Float[Tensor, "batch step"]
    identity_log_prob: Float[Tensor, "batch step identity"]
    kl: Float[Tensor, "batch step identity"]


@dataclass(frozen=True)
class Elbo:
    """The bound and its parts, in nats, one per image.

    Attributes:
        value: the ELBO [B]; equals log_likelihood - kl_discrete - kl_latents.
        log_likelihood: expected log p(x | z) under q [B].
        kl_discrete: KL of q(h | x, z) from p(h) [B].
        kl_latents: expected KL of the present objects' latents, and of the view [B].
    """

    value: Float[Tensor, " batch"]
    log_likelihood: Float[Tensor, " batch"]
    kl_discrete: Float[Tensor, " batch"]
    kl_latents: Float[Tensor, " batch"]


def hypothesis_log_prob(
    steps: StepTerms, hypotheses: Int[Tensor, "hypothesis step"]
) -> Float[Tensor, "batch hypothesis"]:
    """Return log q(h | x, z) = log q(n) + sum_{i <= n} log q(k_i); normalised over h."""
    count = (hypotheses != NO_OBJECT).sum(dim=1)
    log_count = count_log_prob(steps.presence_logits)[:, count]
    return log_count + _sum_over_present(steps.identity_log_prob, hypotheses)


def exact_elbo(
    log_likelihood: Float[Tensor, "batch hypothesis"],
    steps: StepTerms,
    hypotheses: Int[Tensor, "hypothesis step"],
    count_log_prior: Float[Tensor, " count"],
    view_kl: Float[Tensor, " batch"] | None = None,
) -> Elbo:
    """Sum the ELBO over all hypotheses; gradients reach all but the hypotheses.

    Identities are equally probable a priori.

    Args:
        log_likelihood: log p(x | h, z) [B, H].
        steps: the guide's terms.
        hypotheses: rows of identities [H, N].
        count_log_prior: log p(n) [N + 1].
        view_kl: KL of the latents that all hypotheses share (camera and light) [B]; None: none.
    """
    num_identities = steps.identity_log_prob.shape[-1]
    count = (hypotheses != NO_OBJECT).sum(dim=1)
    log_prior = count_log_prior[count] - count.to(count_log_prior) * math.log(num_identities)
    log_q = hypothesis_log_prob(steps, hypotheses)
    q = log_q.exp()
    expected_likelihood = (q * log_likelihood).sum(dim=1)
    kl_discrete = (q * (log_q - log_prior)).sum(dim=1)
    kl_latents = (q * _sum_over_present(steps.kl, hypotheses)).sum(dim=1)
    return _of_parts(expected_likelihood, kl_discrete, kl_latents, view_kl)


def swapped_elbo(
    log_likelihood: Float[Tensor, "batch hypothesis"],
    steps: StepTerms,
    hypotheses: Int[Tensor, "hypothesis step"],
    count_log_prior: Float[Tensor, " count"],
    view_kl: Float[Tensor, " batch"] | None = None,
) -> Elbo:
    """Estimate the ELBO from hypotheses around one draw of the identities (``enumerate_swaps``).

    The count is summed out, and each object's identity in turn, the others' as they were drawn:
    local expectations (Titsias and Lazaro-Gredilla, NIPS 2015), which have far less variance than
    the score of a draw. Value and gradients are those of :func:`exact_elbo` on average over the
    draws, and the same where there is at most one object. The KL is exact. Identities are equally
    probable a priori.

    Args:
        log_likelihood: log p(x | h, z) [B, H]; gradients reach it.
        steps: the guide's terms; gradients reach them.
        hypotheses: rows of ``enumerate_swaps`` [H, N].
        count_log_prior: log p(n) [N + 1].
        view_kl: as in :func:`exact_elbo`.
    """
    num_identities = steps.identity_log_prob.shape[-1]
    log_count = count_log_prob(steps.presence_logits)
    q_count, q_identity = log_count.exp(), steps.identity_log_prob.exp()
    count = (hypotheses != NO_OBJECT).sum(dim=1)
    told = (hypotheses != NO_OBJECT) & (hypotheses != num_identities)
    step = told.to(torch.int64).argmax(dim=1)
    identity = hypotheses.gather(1, step[:, None])[:, 0].clamp(min=0)
    weight = torch.where(count > 0, q_identity[:, step, identity], 1.0)
    # Every swapped object gives an estimate of the same mean: for the latents they are averaged.
    mean = q_count[:, count] * weight.detach() / count.clamp(min=1) * log_likelihood
    # Only its own swap knows what an object's identity is worth.
    own = q_count.detach()[:, count] * (weight - weight.detach()) * log_likelihood.detach()
    expected_likelihood = (mean + own).sum(dim=1)
    reached = q_count.flip(1).cumsum(dim=1).flip(1)[:, 1:]
    kl_identity = (q_identity * steps.identity_log_prob).sum(dim=-1) + math.log(num_identities)
    kl_discrete = (q_count * (log_count - count_log_prior)).sum(dim=1)
    kl_discrete = kl_discrete + (reached * kl_identity).sum(dim=1)
    kl_latents = (reached * (q_identity * steps.kl).sum(dim=-1)).sum(dim=1)
    return _of_parts(expected_likelihood, kl_discrete, kl_latents, view_kl)


def _of_parts(
    log_likelihood: Float[Tensor, " batch"],
    kl_discrete: Float[Tensor, " batch"],
    kl_of_objects: Float[Tensor, " batch"],
    view_kl: Float[Tensor, " batch"] | None,
) -> Elbo:
    """Put a bound together."""
    kl_latents = kl_of_objects if view_kl is None else kl_of_objects + view_kl
    value = log_likelihood - kl_discrete - kl_latents
    return Elbo(value, log_likelihood, kl_discrete, kl_latents)


def _sum_over_present(
    per_identity: Float[Tensor, "batch step identity"], hypotheses: Int[Tensor, "hypothesis step"]
) -> Float[Tensor, "batch hypothesis"]:
    """Sum ``per_identity[b, i, k_i]`` over the steps i that a hypothesis holds present."""
    step = torch.arange(hypotheses.shape[1], device=hypotheses.device)
    chosen = per_identity[:, step, hypotheses.clamp(min=0)]
    return chosen.masked_fill(hypotheses == NO_OBJECT, 0.0).sum(dim=2)
