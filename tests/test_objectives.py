"""The exact sum over counts and identities, held against brute force and against sampling."""

import itertools
import math

import pytest
import torch
from torch.distributions import Normal

from air3d.objectives import (
    NO_OBJECT,
    StepTerms,
    TaughtSteps,
    count_log_prior,
    count_log_prob,
    enumerate_hypotheses,
    enumerate_swaps,
    exact_elbo,
    geometric_count_log_prior,
    hypothesis_log_prob,
    sleep_objective,
    swapped_elbo,
)

BATCH, STEPS, IDENTITIES = 4, 3, 2


@pytest.fixture
def steps() -> StepTerms:
    torch.manual_seed(0)
    identity = torch.randn(BATCH, STEPS, IDENTITIES, dtype=torch.float64).log_softmax(dim=-1)
    return StepTerms(
        presence_logits=torch.randn(BATCH, STEPS, dtype=torch.float64),
        identity_log_prob=identity,
        kl=torch.rand(BATCH, STEPS, IDENTITIES, dtype=torch.float64),
    )


def test_probabilities_of_counts_sum_to_one():
    logits = torch.tensor([[-50.0, 3.0, 0.2], [50.0, 50.0, 50.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(count_log_prob(logits).exp().sum(dim=1), torch.ones(3))


def test_count_is_the_number_of_leading_ones():
    logits = torch.tensor([[2.0, -1.0]], dtype=torch.float64)
    go = logits.sigmoid()[0]
    expected = torch.stack([1 - go[0], go[0] * (1 - go[1]), go[0] * go[1]])
    torch.testing.assert_close(count_log_prob(logits)[0].exp(), expected)


def test_hypotheses_are_all_prefixes_with_all_identities():
    rows = [tuple(row) for row in enumerate_hypotheses(2, 2).tolist()]
    none = NO_OBJECT
    assert rows == [(none, none), (0, none), (1, none), (0, 0), (0, 1), (1, 0), (1, 1)]
    assert enumerate_hypotheses(3).tolist() == [[-1, -1, -1], [0, -1, -1], [0, 0, -1], [0, 0, 0]]


def test_hypotheses_are_normalised(steps):
    log_q = hypothesis_log_prob(steps, enumerate_hypotheses(STEPS, IDENTITIES))
    torch.testing.assert_close(log_q.exp().sum(dim=1), torch.ones(BATCH, dtype=torch.float64))


def test_exact_elbo_is_the_sum_written_out(steps):
    hypotheses = enumerate_hypotheses(STEPS, IDENTITIES)
    likelihood = torch.randn(BATCH, len(hypotheses), dtype=torch.float64)
    prior = geometric_count_log_prior(STEPS, 0.3).double()
    elbo = exact_elbo(likelihood, steps, hypotheses, prior)
    go = steps.presence_logits.sigmoid()
    for row in range(BATCH):
        total = 0.0
        for h, hypothesis in enumerate(hypotheses.tolist()):
            present = [k for k in hypothesis if k != NO_OBJECT]
            count = len(present)
            q = math.prod(go[row, :count].tolist())
            q *= 1 - go[row, count].item() if count < STEPS else 1.0
            q *= math.prod(
                steps.identity_log_prob[row, i, k].exp().item() for i, k in enumerate(present)
            )
            log_p = prior[count].item() - count * math.log(IDENTITIES)
            kl = sum(steps.kl[row, i, k].item() for i, k in enumerate(present))
            total += q * (likelihood[row, h].item() + log_p - math.log(q) - kl)
        assert elbo.value[row].item() == pytest.approx(total, rel=1e-10)
    parts = elbo.log_likelihood - elbo.kl_discrete - elbo.kl_latents
    torch.testing.assert_close(elbo.value, parts)


def test_gradient_is_what_the_score_function_estimates_on_average(steps):
    """Enumerating outcomes of the score-function estimator gives the exact gradient."""
    hypotheses = enumerate_hypotheses(STEPS, IDENTITIES)
    likelihood = torch.randn(BATCH, len(hypotheses), dtype=torch.float64)
    prior = geometric_count_log_prior(STEPS, 0.3).double()
    logits = steps.presence_logits.clone().requires_grad_()
    terms = StepTerms(logits, steps.identity_log_prob, steps.kl)
    exact_elbo(likelihood, terms, hypotheses, prior).value.sum().backward()
    exact = logits.grad.clone()

    logits.grad = None
    log_q = hypothesis_log_prob(terms, hypotheses)
    count = (hypotheses != NO_OBJECT).sum(dim=1)
    kl = torch.zeros(BATCH, len(hypotheses), dtype=torch.float64)
    for h, i in itertools.product(range(len(hypotheses)), range(STEPS)):
        if hypotheses[h, i] != NO_OBJECT:
            kl[:, h] += steps.kl[:, i, hypotheses[h, i]]
    log_prior = prior[count] - count * math.log(IDENTITIES)
    reward = likelihood + log_prior - log_q.detach() - kl
    (log_q.detach().exp() * reward * log_q).sum().backward()
    torch.testing.assert_close(exact, logits.grad)


def test_gradcheck(steps):
    hypotheses = enumerate_hypotheses(STEPS, IDENTITIES)
    prior = geometric_count_log_prior(STEPS, 0.3).double()

    def value(likelihood, logits, identity, kl):
        terms = StepTerms(logits, identity.log_softmax(dim=-1), kl)
        return exact_elbo(likelihood, terms, hypotheses, prior).value

    inputs = [
        torch.randn(BATCH, len(hypotheses), dtype=torch.float64),
        steps.presence_logits,
        steps.identity_log_prob,
        steps.kl,
    ]
    assert torch.autograd.gradcheck(value, [t.clone().requires_grad_() for t in inputs])


def test_swaps_around_draws_give_the_exact_elbo_on_average(steps):
    """Value and every gradient, over all draws of the identities as often as q makes them."""
    exact_rows, swaps = (
        enumerate_hypotheses(STEPS, IDENTITIES),
        enumerate_swaps(STEPS, IDENTITIES),
    )
    assert len(swaps) == 1 + IDENTITIES * STEPS * (STEPS + 1) // 2
    number = {tuple(row): h for h, row in enumerate(exact_rows.tolist())}
    prior = geometric_count_log_prior(STEPS, 0.3).double()
    inputs = [
        torch.randn(BATCH, len(exact_rows), dtype=torch.float64),
        steps.presence_logits,
        steps.identity_log_prob,
        steps.kl,
    ]
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    likelihood, logits, identity, kl = inputs
    terms = StepTerms(logits, identity.log_softmax(dim=-1), kl)
    exact = exact_elbo(likelihood, terms, exact_rows, prior)
    average = torch.zeros(BATCH, dtype=torch.float64)
    for draw in itertools.product(range(IDENTITIES), repeat=STEPS):
        rows = [
            [k if m == IDENTITIES else m for m, k in zip(swap, draw, strict=True)]
            for swap in swaps.tolist()
        ]
        columns = likelihood[:, [number[tuple(row)] for row in rows]]
        q = terms.identity_log_prob[:, torch.arange(STEPS), list(draw)].sum(dim=1).exp().detach()
        average = average + q * swapped_elbo(columns, terms, swaps, prior).value
    torch.testing.assert_close(average, exact.value)
    expected = torch.autograd.grad(exact.value.sum(), inputs, retain_graph=True)
    for got, wanted in zip(torch.autograd.grad(average.sum(), inputs), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_swaps_of_one_object_are_all_hypotheses(steps):
    one = StepTerms(*(tensor[:, :1] for tensor in vars(steps).values()))
    hypotheses = enumerate_hypotheses(1, IDENTITIES)
    assert torch.equal(enumerate_swaps(1, IDENTITIES), hypotheses)
    likelihood = torch.randn(BATCH, len(hypotheses), dtype=torch.float64)
    prior = geometric_count_log_prior(1, 0.3).double()
    exact = exact_elbo(likelihood, one, hypotheses, prior)
    swapped = swapped_elbo(likelihood, one, hypotheses, prior)
    for part, wanted in zip(vars(swapped).values(), vars(exact).values(), strict=True):
        torch.testing.assert_close(part, wanted)


def test_elbo_is_the_evidence_where_q_is_the_posterior():
    """One step, two identities, no continuous latents: with q = p(h | x) the bound is tight."""
    hypotheses = enumerate_hypotheses(1, 2)
    likelihood = torch.tensor([[-1.0, -3.0, 0.5]], dtype=torch.float64)
    prior = torch.tensor([0.4, 0.6], dtype=torch.float64).log()
    joint = likelihood + torch.stack([prior[0], *(prior[1:] - math.log(2)).expand(2)])
    evidence = joint.logsumexp(dim=1)
    posterior = (joint - evidence[:, None])[0]
    present = posterior[1:].logsumexp(dim=0)
    terms = StepTerms(
        presence_logits=(present - posterior[0]).reshape(1, 1),
        identity_log_prob=(posterior[1:] - present).reshape(1, 1, 2),
        kl=torch.zeros(1, 1, 2, dtype=torch.float64),
    )
    torch.testing.assert_close(exact_elbo(likelihood, terms, hypotheses, prior).value, evidence)
    worse = StepTerms(terms.presence_logits + 1.0, terms.identity_log_prob, terms.kl)
    assert exact_elbo(likelihood, worse, hypotheses, prior).value < evidence


def test_importance_weights_lie_between_the_elbo_and_the_evidence():
    """z ~ N(0, 1), x | n, z ~ N(n z, 1), n in {0, 1}: the evidence is known in closed form."""
    torch.manual_seed(0)
    x = torch.tensor(1.3, dtype=torch.float64)
    prior = torch.tensor([0.4, 0.6], dtype=torch.float64).log()
    evidence = torch.stack([Normal(0.0, 1.0).log_prob(x), Normal(0.0, 2**0.5).log_prob(x)])
    evidence = (evidence + prior).logsumexp(dim=0)
    samples, copies = 50, 4000

    def draw(loc: float, scale: float, logit: float):
        """Return the ELBO of each draw, and log sum_n p(x, n, z) / q(z) of each."""
        q, p = Normal(loc, scale), Normal(0.0, 1.0)
        z = q.sample((copies, samples)).double()
        likelihood = torch.stack([Normal(0 * z, 1.0).log_prob(x), Normal(z, 1.0).log_prob(x)], -1)
        kl = (q.log_prob(z) - p.log_prob(z)).reshape(-1, 1, 1)
        terms = StepTerms(
            presence_logits=torch.full((z.numel(), 1), logit, dtype=torch.float64),
            identity_log_prob=torch.zeros(z.numel(), 1, 1, dtype=torch.float64),
            kl=kl,
        )
        elbo = exact_elbo(likelihood.flatten(0, 1), terms, enumerate_hypotheses(1), prior)
        weights = (likelihood + prior).logsumexp(dim=-1) + (p.log_prob(z) - q.log_prob(z))
        return elbo.value.mean(), (weights.logsumexp(dim=1) - math.log(samples)).mean()

    elbo, weighted = draw(0.5, 1.0, 0.3)
    assert elbo < weighted - 0.01
    assert weighted < evidence + 0.01
    assert weighted.item() == pytest.approx(evidence.item(), abs=0.03)


def test_count_priors_are_normalised_and_finite():
    for prior in (geometric_count_log_prior(3, 0.01), count_log_prior([0.0, 1.0], 3)):
        assert torch.isfinite(prior).all()
        assert prior.exp().sum().item() == pytest.approx(1.0)
    assert count_log_prior([0.25, 0.75], 1).exp().tolist() == pytest.approx([0.25, 0.75])


def test_geometric_prior_refuses_what_is_no_ratio():
    with pytest.raises(ValueError, match="per_object must be in"):
        geometric_count_log_prior(3, 0.0)


def test_sleep_ignores_steps_without_an_object():
    torch.manual_seed(1)
    count = torch.tensor([0, 2])
    fields = [torch.randn(2, 3, requires_grad=True) for _ in range(6)]
    view = torch.randn(2, requires_grad=True)
    sleep = sleep_objective(TaughtSteps(*fields), count, view)
    sleep.value.sum().backward()
    for field in fields[1:]:
        assert (field.grad != 0).tolist() == [[False] * 3, [True, True, False]]
    expected = count_log_prob(fields[0])[torch.arange(2), count] + torch.stack(
        [torch.tensor(0.0), sum(field[1, :2].sum() for field in fields[1:])]
    )
    assert view.grad.tolist() == [1.0, 1.0]
    torch.testing.assert_close(sleep.value, expected + view)
