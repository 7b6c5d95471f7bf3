"""The prior over scenes is a distribution, and samples follow it."""

import math
from pathlib import Path

import pytest
import torch

from air3d.scene import ABSENT, ScenePrior, SceneSpec, load_assets, load_scene

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = 20000


@pytest.fixture(scope="module")
def prior() -> ScenePrior:
    """Return a prior over none to three of the three meshes."""
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    assert isinstance(spec, SceneSpec)
    objects = spec.objects.model_copy(update={"count": (0.1, 0.2, 0.3, 0.4)})
    spec = spec.model_copy(update={"objects": objects})
    return ScenePrior(spec, load_assets(spec))


@pytest.fixture(scope="module")
def scenes(prior):
    return prior.sample(SAMPLES, torch.Generator().manual_seed(0))


def deviations(observed: torch.Tensor, probabilities: torch.Tensor, trials: int) -> torch.Tensor:
    """Return how many standard deviations counts lie from their binomial means."""
    mean = trials * probabilities
    return (observed - mean) / (mean * (1 - probabilities)).sqrt()


def test_the_prior_on_the_count_sums_to_one(prior):
    assert float(prior.log_count.exp().sum()) == pytest.approx(1.0)


def test_counts_follow_the_prior(prior, scenes):
    observed = scenes.count.bincount(minlength=4).float()
    assert deviations(observed, prior.log_count.exp(), SAMPLES).abs().max() < 4.5


def test_a_count_of_probability_zero_never_occurs():
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    assert isinstance(spec, SceneSpec)
    single = ScenePrior(spec, load_assets(spec)).sample(1000, torch.Generator().manual_seed(0))
    assert set(single.count.tolist()) == {n for n, p in enumerate(spec.count) if p > 0}


def test_identities_are_equally_probable(prior, scenes):
    present = scenes.identity[scenes.identity != ABSENT]
    observed = present.bincount(minlength=prior.num_identities).float()
    share = torch.full((prior.num_identities,), 1 / prior.num_identities)
    assert deviations(observed, share, len(present)).abs().max() < 4.5


def test_absent_objects_come_last(scenes):
    absent = (scenes.identity == ABSENT).int()
    assert bool((absent.diff(dim=1) >= 0).all())


def test_positions_and_yaws_fill_their_ranges_and_no_more(prior, scenes):
    values = torch.cat([scenes.position[..., :2], scenes.yaw[..., None]], dim=-1).flatten(0, 1)
    low = torch.tensor([*prior.xy.low.tolist(), -math.pi])
    high = torch.tensor([*prior.xy.high.tolist(), math.pi])
    assert bool(((values >= low) & (values <= high)).all())
    share = (values - low) / (high - low)
    # Kolmogorov-Smirnov: the largest gap between the empirical and the uniform distribution.
    ordered = share.sort(dim=0).values
    gap = (ordered - torch.arange(len(ordered))[:, None] / len(ordered)).abs().amax(dim=0)
    assert float(gap.max()) < 2.2 / math.sqrt(len(ordered))


def test_objects_stand_on_the_plane(prior):
    scenes = prior.sample(50, torch.Generator().manual_seed(1))
    meshes = load_assets(prior.spec)
    poses = scenes.object_to_world
    for index in range(len(scenes)):
        for column in range(int(scenes.count[index])):
            mesh = meshes[int(scenes.identity[index, column])]
            pose = poses[index, column]
            lowest = (mesh.vertices @ pose[:3, :3].T + pose[:3, 3])[:, 2].min()
            assert float(lowest) == pytest.approx(0.0, abs=1e-6)


def test_the_same_seed_gives_the_same_scenes(prior):
    first, again, other = (
        prior.sample(50, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first.identity, again.identity)
    assert torch.equal(first.object_to_world, again.object_to_world)
    assert not torch.equal(first.position, other.position)


def test_the_density_of_a_pose_integrates_to_one_and_falls_outside(prior):
    low, high = prior.xy.low, prior.xy.high
    volume = float((high - low).prod()) * 2 * math.pi
    centre = torch.cat([0.5 * (low + high), torch.zeros(1)])
    inside = float(prior.log_prob_pose(centre))
    assert math.exp(inside) * volume == pytest.approx(1.0)
    assert float(prior.log_prob_pose(torch.cat([high, torch.zeros(1)]))) == pytest.approx(inside)
    beyond = torch.cat([high + 0.1, torch.zeros(1)])
    assert float(prior.log_prob_pose(beyond)) < inside - 5.0
