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


def enumerate_swaps(max_steps: int, num_identities: int) -> Int[Tensor, "hypothesis step"]:
    """List hypotheses that differ from a draw of all identities in one object's, fewest first.

    Each count n > 0, each of its objects and each identity is one row: that object's identity is
    told, the other n - 1 objects hold ``num_identities``, which stands for the identity that was
    drawn, and steps after n hold ``NO_OBJECT``. There are 1 + M N (N + 1) / 2 rows, where all
    hypotheses are sum_n M^n.
    """
    rows = [[NO_OBJECT] * max_steps]
    for count in range(1, max_steps + 1):
        for step, identity in itertools.product(range(count), range(num_identities)):
            row = [num_identities] * count + [NO_OBJECT] * (max_steps - count)
            row[step] = identity
            rows.append(row)
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), max_steps)


def draw_identities(
    identity_log_prob: Float[Tensor, "batch step identity"],
) -> Int[Tensor, "batch step"]:
    """Draw an identity for each step, by torch's global random state."""
    probability = identity_log_prob.detach().exp()
    return probability.flatten(0, 1).multinomial(1).reshape(probability.shape[:2])


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
