"""Coverage of q's regions, calibration of its probabilities, and the fit to the pixels."""

import dataclasses
import math

import pytest
import torch
from conftest import ROOT
from evaluation_cases import CROCKERY, say_the_truth, table_scenes

from air3d.data import SceneStream
from air3d.evaluation import TestSet, evaluate, judge
from air3d.evaluation.calibration import confidence, scene_calibration
from air3d.evaluation.fit import elbo_of, fit
from air3d.models import SceneConfig, build_air
from air3d.scene import load_scene

SCENES = table_scenes(400, seed=1)
TRUTH = say_the_truth(SCENES)


def _scattered(std, claimed):
    """Move every object by Gaussian errors of a standard deviation, and claim another."""
    generator = torch.Generator().manual_seed(0)

    def move(thing):
        pose = thing.object_to_world.clone()
        pose[:2, 3] += std * torch.randn(2, generator=generator)
        return dataclasses.replace(
            thing, object_to_world=pose, position_covariance=claimed**2 * torch.eye(2)
        )

    return [dataclasses.replace(e, objects=tuple(map(move, e.objects))) for e in TRUTH]


@pytest.mark.parametrize("std", [0.0005, 0.003])
def test_regions_hold_as_many_truths_as_they_promise(std):
    estimates = _scattered(std, std)
    calibration = scene_calibration(estimates, SCENES, judge(estimates, SCENES, CROCKERY))
    assert [region.probability for region in calibration.position] == [0.5, 0.9]
    for region in calibration.position:
        assert region.number > 1000
        spread = math.sqrt(region.probability * (1 - region.probability) / region.number)
        assert region.covered == pytest.approx(region.probability, abs=4 * spread)


def test_too_sure_covers_too_little():
    estimates = _scattered(0.003, 0.001)
    calibration = scene_calibration(estimates, SCENES, judge(estimates, SCENES, CROCKERY))
    half, most = calibration.position
    # The regions end at r^2 = -2 log(1 - p) claimed variances, a ninth of it in true ones.
    assert half.covered == pytest.approx(1 - 0.5 ** (1 / 9), abs=0.04)
    assert most.covered == pytest.approx(1 - 0.1 ** (1 / 9), abs=0.05)


def test_the_truth_that_is_sure_is_calibrated():
    calibration = scene_calibration(TRUTH, SCENES, judge(TRUTH, SCENES, CROCKERY))
    for choices in (calibration.count, calibration.identity):
        assert choices.mean == choices.accuracy == 1.0 and choices.expected_error == 0.0
    assert [region.covered for region in calibration.position] == [1.0, 1.0]


def test_expected_error_is_the_gap_of_every_bin():
    sure, unsure = [0.95] * 10, [0.55] * 20
    right = [True] * 9 + [False] + [True] * 5 + [False] * 15
    choices = confidence(sure + unsure, right)
    assert choices.accuracy == pytest.approx(14 / 30)
    assert choices.mean == pytest.approx((9.5 + 11.0) / 30)
    assert choices.expected_error == pytest.approx((10 * 0.05 + 20 * 0.3) / 30)
    assert confidence([], []).expected_error is None
    assert confidence([1.0], [True]).expected_error == 0.0


def test_a_perfect_reconstruction_leaves_the_noise():
    """Its mean absolute error is the noise's, sqrt(2 / pi) of the standard deviation."""
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    small = SceneConfig(
        channels=(8, 8), features=16, state=16, glimpse_channels=(8, 8), hidden=16, yaw_bins=4
    )
    stream = SceneStream(spec, batch=4, seed=0)
    model = build_air(spec, small, stream.meshes).eval()
    test_set = TestSet.of_scenes(stream.batch(0))
    clean = stream.render(test_set.scenes)
    estimates = [
        dataclasses.replace(estimate, reconstruction=image)
        for estimate, image in zip(evaluate(model, test_set).estimates, clean, strict=True)
    ]
    bound = elbo_of(model, test_set.images)
    figures = fit(test_set.images, estimates, bound)
    noise = spec.noise_std
    assert figures.absolute_error.mean == pytest.approx(noise * math.sqrt(2 / math.pi), rel=0.03)
    assert figures.psnr.mean == pytest.approx(-20 * math.log10(noise), rel=0.01)
    assert fit(clean, estimates, None).psnr.mean == pytest.approx(100.0), "and not infinite"
    assert figures.elbo is not None
    # log p(x) is at most what a perfect guide would find, the log-density of noise alone.
    assert figures.elbo.mean < -clean[0].numel() * math.log(noise * math.sqrt(2 * math.pi))
