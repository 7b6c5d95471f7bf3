"""Searches move whole scenes, within what the scene file leaves open."""

import pytest
import torch
from conftest import ROOT

from air3d.geometry import rotation_of
from air3d.inference.moves import RADIANS_PER_DIAMETER, Moves
from air3d.inference.settling import log_likelihood, settle
from air3d.models.decoders import SceneDecoder
from air3d.scene import ABSENT, ScenePrior, Scenes, View, ViewPrior, load_assets, load_scene


@pytest.fixture(scope="module")
def decoder() -> SceneDecoder:
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    return SceneDecoder(spec, load_assets(spec))


@pytest.fixture(scope="module")
def scenes(decoder):
    """Two scenes of several objects."""
    prior = ScenePrior(decoder.spec, decoder.bank.meshes)
    drawn = prior.sample(12, torch.Generator().manual_seed(0))
    return drawn[drawn.count >= 3][:2]


def test_no_move_is_where_it_starts(decoder, scenes):
    moves = Moves(decoder, scenes)
    assert moves.zero().shape == (2, 6 * 7 + 7)
    at = moves.at(moves.zero())
    for name in ("identity", "position", "rotation", "scale", "colour"):
        assert torch.equal(getattr(at, name), getattr(scenes, name))
    torch.testing.assert_close(
        at.camera.world_to_camera, scenes.camera.world_to_camera, atol=1e-5, rtol=0
    )
    torch.testing.assert_close(at.light.diffuse, scenes.light.diffuse)


def test_each_coordinate_moves_what_it_names(decoder, scenes):
    moves = Moves(decoder, scenes)
    unit = max(mesh.diameter for mesh in decoder.bank.meshes)
    move = moves.zero()
    move[:, moves.per_object : 2 * moves.per_object] = torch.tensor(
        [0.1, -0.2, 0.3, 0.02, 0.01, 0.0, -0.01]
    )
    at = moves.at(move)
    shift = (at.position - scenes.position)[:, 1, :2] / unit
    torch.testing.assert_close(shift, torch.tensor([[0.1, -0.2]]).expand(2, 2), atol=1e-5, rtol=0)
    turn = torch.remainder(at.yaw - scenes.yaw, 2 * torch.pi)[:, 1]
    torch.testing.assert_close(turn, torch.full((2,), 0.6), atol=1e-5, rtol=0)
    assert torch.equal(at.position[:, 0], scenes.position[:, 0])
    assert torch.equal(at.position[:, 2:], scenes.position[:, 2:])


def test_a_larger_object_still_stands_and_nothing_leaves_the_priors_ranges(decoder, scenes):
    moves = Moves(decoder, scenes)
    prior = ScenePrior(decoder.spec, decoder.bank.meshes)
    at = moves.at(moves.zero() + 9.0)
    height = prior.rest_height[at.identity] * at.scale
    present = at.identity != ABSENT
    torch.testing.assert_close(at.position[..., 2][present], height[present])
    objects = decoder.spec.objects
    assert (at.scale == objects.scale.high).all() and (at.colour == objects.colour.high).all()
    view = ViewPrior(decoder.spec)
    coordinates = view.coordinates(View(at.camera, at.light))
    for unknown, column in zip(view.unknowns, coordinates.unbind(1), strict=True):
        if not unknown.circular:
            assert column.tolist() == pytest.approx([unknown.range.high] * 2, abs=1e-5)


def test_gradients_reach_every_coordinate(decoder, scenes):
    moves = Moves(decoder, scenes)
    move = moves.zero().requires_grad_()
    images = decoder.image(scenes).detach() + 0.05
    log_likelihood(decoder, images, moves.at(move)).sum().backward()
    assert move.grad is not None and torch.isfinite(move.grad).all()
    seen = move.grad.abs() > 0
    count = int(scenes.count.min())
    assert seen[:, 7 * 6 :].all() and seen[:, : 7 * count].float().mean() > 0.9
    absent = scenes.count.max() * 7
    assert not seen[:, int(absent) : 7 * 6].any()


@torch.no_grad()
def test_a_laid_table_settles(decoder, scenes):
    """A camera, a light and several objects, each a little off, come nearer all at once."""
    truth = decoder.image(scenes)
    start = Moves(decoder, scenes)
    off = start.at(
        0.005 * torch.randn(start.zero().shape, generator=torch.Generator().manual_seed(1))
    )
    found = settle(decoder, truth, off, steps=4)
    before, after = ((decoder.image(s) - truth).square().sum() for s in (off, found))
    assert after < 0.2 * before


@pytest.fixture(scope="module")
def free() -> SceneDecoder:
    spec = load_scene(ROOT / "scenes" / "single_object_so3.yaml")
    return SceneDecoder(spec, load_assets(spec))


def distance(scenes: Scenes) -> torch.Tensor:
    """Return what is open of a free scene's view."""
    spec = load_scene(ROOT / "scenes" / "single_object_so3.yaml")
    return ViewPrior(spec).coordinates(View(scenes.camera, scenes.light))


def test_objects_that_turn_freely_are_turned_about_all_their_axes(free):
    scenes = ScenePrior(free.spec, free.bank.meshes).sample(6, torch.Generator().manual_seed(0))
    moves = Moves(free, scenes)
    move = torch.tensor([0.1, -0.2, 0.05, -0.1, 0.15, 0.3]).expand(6, -1)
    assert moves.zero().shape == move.shape
    assert torch.equal(moves.at(moves.zero()).rotation, scenes.rotation)
    at = moves.at(move)
    turned = rotation_of(RADIANS_PER_DIAMETER * move[:, None, 2:5])
    torch.testing.assert_close(scenes.rotation.mT @ at.rotation, turned, atol=1e-5, rtol=0)
    assert torch.equal(at.position[..., 2], scenes.position[..., 2])
    (start,), (end,) = (distance(s).T for s in (scenes, at))
    torch.testing.assert_close(end, (start + 0.3 * 0.75).clamp(max=4.0), atol=1e-4, rtol=0)


@torch.no_grad()
def test_freely_turned_objects_settle(free):
    """Place, rotation and the camera's distance are found from a little off, up to symmetry."""
    scenes = ScenePrior(free.spec, free.bank.meshes).sample(12, torch.Generator().manual_seed(1))
    images, start = free.image(scenes), Moves(free, scenes)
    off = 0.01 * torch.randn(start.zero().shape, generator=torch.Generator().manual_seed(2))
    found = settle(free, images, start.at(off), steps=8)
    for row, identity in enumerate(scenes.identity[:, 0].tolist()):
        group = free.bank.meshes[identity].group
        assert float(group.angle(found.rotation[row, 0], scenes.rotation[row, 0])) < 0.01
    assert (found.position - scenes.position).norm(dim=-1).max() < 0.005
    assert (distance(found) - distance(scenes)).abs().max() < 0.01
