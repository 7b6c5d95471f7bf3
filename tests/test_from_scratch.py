"""What the ELBO needs from new weights: responsibilities, several rotations, cut gradients."""

import dataclasses
import itertools
import math

import pytest
import torch
from conftest import ROOT
from model_cases import SMALL

from air3d.data import SceneStream
from air3d.models import build_air
from air3d.models.pull_in import Sharpness
from air3d.models.yaw import YawMixture
from air3d.objectives import (
    NO_OBJECT,
    Explanations,
    StepTerms,
    count_log_prior,
    enumerate_hypotheses,
    enumerate_swaps,
    geometric_count_log_prior,
    responsibilities,
    shared_out,
)
from air3d.scene import load_assets, load_scene
from air3d.training import FromScratch, from_scratch_loss
from air3d.training.leash import Leash

STEPS, IDENTITIES = 3, 2


@pytest.fixture(scope="module")
def posterior():
    """A toy's log p(x, h | z) / q(z | h) of every hypothesis, and the same from draws.

    q(identity) is uniform, so that all draws, each once, are what q draws on average.
    """
    torch.manual_seed(0)
    draws = torch.tensor(list(itertools.product(range(IDENTITIES), repeat=STEPS)))
    hypotheses = enumerate_hypotheses(STEPS, IDENTITIES)
    likelihood = torch.randn(len(hypotheses), dtype=torch.float64)
    prior = geometric_count_log_prior(STEPS, 0.4).double()
    kl = torch.rand(STEPS, IDENTITIES, dtype=torch.float64)
    count = (hypotheses != NO_OBJECT).sum(dim=1)
    cost = torch.where(hypotheses != NO_OBJECT, kl[torch.arange(STEPS), hypotheses.clamp(min=0)], 0)
    joint = likelihood + prior[count] - count * math.log(IDENTITIES) - cost.sum(dim=1)

    swaps = enumerate_swaps(STEPS, IDENTITIES)
    explanations = Explanations(swaps, draws, IDENTITIES, turns=1)
    rows = len(draws)
    steps = StepTerms(
        torch.zeros(rows, STEPS, dtype=torch.float64),
        torch.full((rows, STEPS, IDENTITIES), -math.log(IDENTITIES), dtype=torch.float64),
        kl.expand(rows, STEPS, IDENTITIES),
    )
    number = {tuple(row): h for h, row in enumerate(hypotheses.tolist())}
    which = [[number[tuple(h)] for h in row] for row in explanations.identity.tolist()]
    which = torch.tensor(which)
    weight = explanations.log_weight(likelihood[which], steps, prior)
    return joint, which, weight, explanations


def test_responsibilities_are_the_posterior_on_average(posterior):
    """Over all draws, as often as q makes them, each hypothesis has its exact probability."""
    joint, which, weight, _ = posterior
    share = responsibilities(weight, draws=len(weight))
    total = torch.zeros_like(joint).index_add(0, which.flatten(), share.flatten())
    torch.testing.assert_close(total, joint.softmax(dim=0))


def test_following_responsibilities_raises_the_mean_weight(posterior):
    """sum of responsibility x gradient of log w is the gradient of log sum w."""
    *_, weight, _ = posterior
    weight = weight.clone().requires_grad_()
    (expected,) = torch.autograd.grad(weight.logsumexp(dim=(0, 1)), weight)
    torch.testing.assert_close(responsibilities(weight.detach(), len(weight)), expected)


def test_choices_at_the_posterior_stay_there():
    """One object, no gradient is left where q(count, identity) is p(count, identity | x)."""
    torch.manual_seed(1)
    swaps = enumerate_swaps(1, IDENTITIES)
    likelihood = torch.randn(1, 1 + IDENTITIES, dtype=torch.float64)
    prior = geometric_count_log_prior(1, 0.4).double()
    drawn = torch.zeros(1, 1, dtype=torch.int64)
    explanations = Explanations(swaps, drawn, IDENTITIES, turns=1)
    joint = likelihood + torch.tensor([prior[0], *[prior[1] - math.log(IDENTITIES)] * IDENTITIES])
    exact = joint.log_softmax(dim=1)
    present = exact[:, 1:].logsumexp(dim=1)
    logit = (present - exact[:, 0])[:, None].requires_grad_()
    identity = (exact[:, 1:] - present[:, None])[:, None].requires_grad_()
    kl = torch.zeros(1, 1, IDENTITIES, dtype=torch.float64)
    steps = StepTerms(logit, identity.log_softmax(dim=-1), kl)
    share = responsibilities(explanations.log_weight(likelihood, steps, prior).detach(), draws=1)
    torch.testing.assert_close(share, exact.exp())
    (share * explanations.log_prob(steps)).sum().backward()
    torch.testing.assert_close(logit.grad, torch.zeros_like(logit))
    torch.testing.assert_close(identity.grad, torch.zeros_like(identity))


def test_every_kind_has_an_equal_share(posterior):
    _, _, weight, explanations = posterior
    share = shared_out(weight, explanations, draws=len(weight))
    assert share.sum().item() == pytest.approx(1.0)
    each = share.sum(dim=0) @ explanations.tells.double()
    torch.testing.assert_close(each, torch.full_like(each, 1 / (STEPS * IDENTITIES)))


def test_yaws_of_some_components_have_their_densities():
    torch.manual_seed(2)
    raw, origin = torch.randn(5, 24, 3), torch.randn(5)
    mixture = YawMixture.from_raw(raw, origin, torch.tensor([1, 4, 0, 1, 2]))
    some = mixture.rsample_some(24)
    torch.testing.assert_close(some.log_weight.exp().sum(dim=1), torch.ones(5))
    # Each component once: together they are the mixture.
    found = torch.stack([mixture.log_prob(yaw) for yaw in some.yaw.unbind(dim=1)], dim=1)
    assert (found >= some.log_weight + some.log_prob - 1e-3).all()
    few = mixture.rsample_some(4)
    best = few.log_weight.argmax(dim=1)
    assert (best == 0).all()


@pytest.fixture(scope="module")
def spec():
    return load_scene(ROOT / "scenes/single_object.yaml")


@pytest.fixture(scope="module")
def model(spec):
    torch.manual_seed(3)
    return build_air(spec, SMALL, load_assets(spec))


@pytest.fixture(scope="module")
def drawn(model):
    """Two draws each of four images, with three rotations of every kind."""
    images = SceneStream(model.spec, batch=4, seed=0).batch(0).images
    head = model.pose_head
    torch.manual_seed(4)
    unrolled = model.guide.sample_often(images, 2, lambda s, look: head.sample_turned(s, look, 3))
    return images, unrolled


def test_every_rotation_is_scored_as_if_alone(model, drawn):
    images, unrolled = drawn
    images = images.repeat_interleave(2, dim=0)
    latents = unrolled.latents.as_identities()
    torch.testing.assert_close(latents.identity_log_prob.exp().sum(dim=-1), torch.ones(8, 1))
    nobody = torch.zeros(8, 1, dtype=torch.int64)
    several = model.scene_decoder.coarse_log_likelihood(
        images,
        dataclasses.replace(unrolled, latents=latents),
        enumerate_swaps(1, 9),
        nobody,
        Sharpness(model.spec.render, 0),
    )
    for turn in range(3):
        one = dataclasses.replace(unrolled.latents, rotation=unrolled.latents.turned[:, :, :, turn])
        alone = model.scene_decoder.log_likelihood(
            images, dataclasses.replace(unrolled, latents=one), enumerate_swaps(1, 3), nobody
        )
        of_turn = several[:, 1 + turn :: 3]
        torch.testing.assert_close(of_turn[:, [0, 2]], alone[:, [1, 3]], rtol=1e-4, atol=1.0)
        # A ball is shown once, and its few faces are not quite as round.
        torch.testing.assert_close(of_turn[:, 1], several[:, 4])


def test_a_long_leash_changes_no_gradient_and_a_short_one_cuts_it(model, drawn):
    _, unrolled = drawn
    unrolled = dataclasses.replace(unrolled, latents=unrolled.latents.as_identities())
    leash = Leash.on(model, unrolled)
    share = torch.rand(8, 1, 9)

    def value(latents):
        return (share * (3 * latents.position[..., 0] + 4 * latents.position[..., 1])).sum()

    def gradient(of):
        return torch.autograd.grad(of, unrolled.latents.position, retain_graph=True)[0]

    expected = gradient(value(unrolled.latents))
    free = leash.pull(value(leash.unrolled.latents), share, reach=1e6)
    torch.testing.assert_close(gradient(free), expected)
    reach = 0.1  # the gradient is 5 per metre
    held = leash.pull(value(leash.unrolled.latents), share, reach=reach)
    lengths = gradient(held).norm(dim=-1) * leash.unit
    torch.testing.assert_close(lengths, reach * share)


@pytest.mark.parametrize("progress", [0.0, 0.4])
def test_every_weight_is_taught(model, progress):
    images = SceneStream(model.spec, batch=4, seed=1).batch(0).images
    prior = count_log_prior(model.spec.count, model.max_steps)
    model.zero_grad()
    loss = from_scratch_loss(model, images, prior, FromScratch(), progress)
    loss.value.backward()
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    # What later steps remember meets nothing but the initial zeros.
    assert without <= {"guide.cell.weight_hh"}
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_it_ends_at_the_scene_file(model):
    settings = FromScratch()
    first, last = settings.warmth(model.spec, 0.0), settings.warmth(model.spec, 1.0)
    assert first.temperature == settings.temperature and first.sharpness.level == settings.halvings
    assert (last.temperature, last.floor, last.sharpness.level) == (1.0, 0.0, 0)
    assert last.sharpness.softness == model.spec.render


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"--from-scratch\.temperature: must be .* got 0\.5"):
        FromScratch(temperature=0.5)
    with pytest.raises(ValueError, match=r"--from-scratch\.draws: must be 1 to .* got 0"):
        FromScratch(draws=0)


def test_settings_without_a_meaning_are_refused(call_script, capsys, tmp_path):
    options = ("--out", tmp_path / "run", "--iterations", "1", "--from-scratch.draws", "3")
    assert call_script("train_3d.py", *options) != 0
    assert "--from-scratch: has a meaning only with" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
