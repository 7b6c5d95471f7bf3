"""The density of rotations that turn freely: one in all, symmetric, and what its samples follow."""

import dataclasses
import math

import pytest
import torch
from conftest import ROOT

from air3d.geometry import random_rotations, rotation_of, spread_rotations
from air3d.models.free_rotations import FreeDensity, FreeHead
from air3d.scene import FREE_VOLUME, SymmetryGroup, load_mesh
from air3d.scene.symmetry import find_symmetry_group

EYE = torch.eye(3, dtype=torch.float64)
FLIP = rotation_of(torch.tensor([[0.0, 0.0, 0.0], [math.pi, 0.0, 0.0]], dtype=torch.float64))
CUBE = dataclasses.replace(
    load_mesh(ROOT / "assets" / "meshes" / "red_cube.ply"),
    symmetry=find_symmetry_group(load_mesh(ROOT / "assets" / "meshes" / "red_cube.ply")),
)
GROUPS = {
    "none": SymmetryGroup(EYE[None], EYE[:0]),
    "cube": CUBE.group,
    "cone": SymmetryGroup(EYE[None], EYE[2:]),
    "cylinder": SymmetryGroup(FLIP, EYE[2:]),
    "ball": SymmetryGroup(EYE[None], EYE),
}
BINS = 24


@pytest.fixture(scope="module")
def head() -> FreeHead:
    """A head of one identity for each group."""
    meshes = [dataclasses.replace(CUBE, symmetry=group) for group in GROUPS.values()]
    return FreeHead(tuple(meshes), BINS)


@pytest.fixture(scope="module")
def density(head) -> FreeDensity:
    """What a network might say of one image; wide enough to be summed up on a grid."""
    torch.manual_seed(0)
    raw = torch.randn(1, len(GROUPS), head.size)
    raw[..., 4::5] = 1.0 + raw[..., 4::5].abs()
    return head.density(raw, random_rotations((1,), torch.Generator().manual_seed(1)))


def repeat(density: FreeDensity, number: int) -> FreeDensity:
    """Return the same density for many images."""
    of_images = ("log_weight", "turn", "std", "sight")
    parts = {name: getattr(density, name) for name in of_images}
    wide = {name: part.expand(number, *part.shape[1:]) for name, part in parts.items()}
    return dataclasses.replace(density, **wide)


def everywhere(number: int) -> torch.Tensor:
    """Return evenly spread rotations, the same for every identity."""
    return spread_rotations(number).float()[:, None].expand(-1, len(GROUPS), 3, 3)


def test_the_density_integrates_to_one(density):
    number = 8000
    mass = repeat(density, number).log_prob(everywhere(number)).exp().mean(dim=0) * FREE_VOLUME
    assert mass.tolist() == pytest.approx([1.0] * len(GROUPS), abs=2e-3)


def test_what_looks_the_same_has_the_same_density(density):
    rotation = everywhere(50)
    log_prob = repeat(density, 50).log_prob(rotation)
    for index, group in enumerate(GROUPS.values()):
        about = rotation_of(torch.tensor(0.7) * group.axes.sum(dim=0).float())
        for turn in group.turns.float():
            turned = repeat(density, 50).log_prob(rotation @ about @ turn)
            torch.testing.assert_close(turned[:, index], log_prob[:, index], atol=2e-3, rtol=1e-3)
        other = rotation @ rotation_of(torch.tensor([0.4, 0.5, 0.1]))
        changed = (repeat(density, 50).log_prob(other) - log_prob)[:, index].abs().max()
        assert (float(changed) > 0.1) == (group.freedom > 0)


def test_samples_follow_the_density(density):
    """As many lie near a rotation, or its twins, as the density says."""
    number, near = 8000, 0.6
    torch.manual_seed(2)
    with torch.no_grad():
        drawn, grid = repeat(density, number).rsample(), everywhere(number)
        mass = repeat(density, number).log_prob(grid).exp() * FREE_VOLUME
    for index, group in enumerate(GROUPS.values()):
        for middle in density.modes(3)[0, index]:
            share = (group.angle(drawn[:, index], middle) < near).float().mean()
            inside = group.angle(grid[:, index], middle) < near
            expected = (mass[:, index] * inside).mean()
            assert float(share) == pytest.approx(float(expected), abs=0.02)


def test_gradients_reach_the_parameters_and_the_rotation(head):
    raw = torch.randn(2, len(GROUPS), head.size, requires_grad=True)
    density = head.density(raw, torch.eye(3).expand(2, 3, 3)).with_fixed_weights()
    drawn = density.rsample()
    density.log_prob(drawn).sum().backward()
    assert raw.grad is not None and torch.isfinite(raw.grad).all()
    parts = raw.grad.unflatten(-1, (BINS, 5)).abs().amax(dim=(0, 2))
    assert (parts[:, 0] == 0).all()
    assert (parts[:4, 4] > 0).all()


def test_one_rotation_of_one_identity_has_the_density_of_all(density):
    rotation, identity = everywhere(20)[:, 0], torch.arange(20) % len(GROUPS)
    wide = repeat(density, 20)
    every = wide.log_prob(rotation[:, None].expand(-1, len(GROUPS), 3, 3))
    one = wide.teach(rotation, identity)
    torch.testing.assert_close(one, every[torch.arange(20), identity])


def test_the_best_mode_has_nearly_the_highest_density(density):
    best = density.modes(4)
    at_modes = torch.stack([density.log_prob(best[:, :, i])[0] for i in range(4)])
    highest = repeat(density, 5000).log_prob(everywhere(5000)).amax(dim=0)
    assert (at_modes.amax(dim=0) > highest - 0.7).all()


def test_bins_lie_evenly_among_what_looks_different(head):
    """A group of n turns leaves an n-th of the room, so bins are nearer by its cube root."""
    widths = dict(zip(GROUPS, head.width.tolist(), strict=True))
    assert widths["ball"] == pytest.approx(0.0, abs=1e-6)
    assert widths["cube"] == pytest.approx(widths["none"] / 24 ** (1 / 3), rel=0.25)
    assert widths["cylinder"] < widths["cone"] < widths["none"]


def test_teaching_finds_a_rotation_at_once(head):
    """Fixed bins leave no plateau: a density that may be anything comes to lie on the truth."""
    torch.manual_seed(3)
    number = len(GROUPS)
    identity, sight = torch.arange(number), torch.eye(3).expand(number, 3, 3)
    raw = torch.zeros(number, number, head.size, requires_grad=True)
    truth = random_rotations((number,), torch.Generator().manual_seed(4))
    optimiser = torch.optim.Adam([raw], lr=0.1)
    for _ in range(120):
        optimiser.zero_grad()
        (-head.density(raw, sight).teach(truth, identity).sum()).backward()
        optimiser.step()
    found = head.density(raw, sight).modes(1)[identity, identity, 0]
    for index, group in enumerate(GROUPS.values()):
        assert math.degrees(float(group.angle(found[index], truth[index]))) < 1.0


def test_what_is_taught_is_one_component(head):
    """The bin's, whatever it weighs; all others learn that they weigh less."""
    number = len(GROUPS)
    identity, sight = torch.arange(number), torch.eye(3).expand(number, 3, 3)
    raw = torch.zeros(number, number, head.size, requires_grad=True)
    truth = random_rotations((number,), torch.Generator().manual_seed(4))
    head.density(raw, sight).teach(truth, identity).sum().backward()
    parts = raw.grad[identity, identity].unflatten(-1, (BINS, 5))
    assert ((parts[..., 0] > 0).sum(dim=1) == 1).all()
    assert ((parts[..., 1:] != 0).any(dim=-1).sum(dim=1) <= 1).all()
    turned = [index for index, group in enumerate(GROUPS.values()) if group.freedom]
    torch.testing.assert_close(
        (parts[turned][..., 4] != 0).float().argmax(dim=1), parts[turned][..., 0].argmax(dim=1)
    )


def test_rotations_of_all_components_make_up_the_density(density):
    """Each component once; their densities, weighted, are parts of the whole."""
    torch.manual_seed(5)
    some = density.rsample_some(BINS)
    torch.testing.assert_close(some.log_weight.exp().sum(dim=-1), torch.ones(1, len(GROUPS)))
    assert (some.log_weight.argmax(dim=-1) == 0).all()
    for turn in range(BINS):
        whole = density.log_prob(some.rotation[:, :, turn])
        part = some.log_weight[..., turn] + some.log_prob[..., turn]
        assert (whole >= part - 1e-3).all()
    ball = list(GROUPS).index("ball")
    torch.testing.assert_close(
        some.log_prob[:, ball], torch.full((1, BINS), -math.log(FREE_VOLUME))
    )
