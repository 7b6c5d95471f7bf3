"""The chain of z_pres: the unary code of a count, and every hypothesis it leaves open.

An image of at most N objects is explained by n ones and then a zero. With M candidate
identities per object there are sum_n M^n hypotheses (n, k_1, ..., k_n); in 2D, where a patch
has no identity, M = 1 and the hypotheses are the N + 1 prefixes.
"""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

NO_OBJECT = -1
IMPOSSIBLE = 1e-6


def count_log_prob(presence_logits: Float[Tensor, "batch step"]) -> Float[Tensor, "batch count"]:
    """Return log q(n | x), n = 0..N, of the chain q(z_pres_i = 1) = sigmoid(logit_i).

    ``q(n) = prod_{i<=n} p_i * (1 - p_{n+1})``, with no stop factor after the last step.
    Gradients reach the logits; the result is normalised over its last axis.
    """
    log_go = torch.nn.functional.logsigmoid(presence_logits)
    log_stop = torch.nn.functional.logsigmoid(-presence_logits)
    start = torch.zeros_like(presence_logits[:, :1])
    reached = torch.cat([start, log_go.cumsum(dim=1)], dim=1)
    return reached + torch.cat([log_stop, start], dim=1)


def enumerate_hypotheses(max_steps: int, num_identities: int = 1) -> Int[Tensor, "hypothesis step"]:
    """List every (n, k_1, ..., k_n), fewest objects first; steps after n hold ``NO_OBJECT``."""
    rows = [
        identities + (NO_OBJECT,) * (max_steps - count)
        for count in range(max_steps + 1)
        for identities in itertools.product(range(num_identities), repeat=count)
    ]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), max_steps)


def geometric_count_log_prior(max_steps: int, per_object: float) -> Float[Tensor, " count"]:
    """Return log p(n) proportional to ``per_object ** n`` on n = 0..max_steps.

    ``per_object`` near 1 is flat; annealing it towards 0 makes the model prefer few objects
    (SuPAIR and others; a prior fixed at 0.5 lets counts collapse to the maximum).
    """
    if not 0.0 < per_object <= 1.0:
        raise ValueError(f"per_object must be in (0, 1], got {per_object}")
    scores = torch.arange(max_steps + 1) * torch.tensor(per_object).log()
    return scores - scores.logsumexp(dim=0)


def count_log_prior(count: Sequence[float], max_steps: int) -> Float[Tensor, " count"]:
    """Return log p(n), n = 0..max_steps, of a table of probabilities.

    A count that the table excludes gets ``IMPOSSIBLE`` instead of 0: q(n) is a product of
    sigmoids and never exactly 0, so the ELBO would be minus infinity.
    """
    table = torch.full((max_steps + 1,), IMPOSSIBLE)
    known = min(len(count), max_steps + 1)
    table[:known] = torch.tensor(count[:known]).clamp(min=IMPOSSIBLE)
    return (table / table.sum()).log()
