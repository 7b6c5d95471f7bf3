"""Settling finds the peak of the likelihood, as precisely as the noise lets anybody."""

import dataclasses

import pytest
import torch
from conftest import ROOT

from air3d.geometry import yaw_rotation
from air3d.inference.moves import Moves
from air3d.inference.refinement import refine
from air3d.inference.settling import log_likelihood, settle
from air3d.models.decoders import SceneDecoder
from air3d.scene import ABSENT, ScenePrior, Scenes, load_assets, load_scene

CUBE, SPHERE, CYLINDER = range(3)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def decoder() -> SceneDecoder:
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    return SceneDecoder(spec, load_assets(spec))


def scenes_of(decoder: SceneDecoder, identity: int, number: int) -> Scenes:
    """Place objects of one kind at random, some 10 cm from the bounds."""
    prior = ScenePrior(decoder.spec, decoder.bank.meshes)
    scenes = prior.sample(number, seeded(0))
    position = scenes.position * torch.tensor([0.8, 0.8, 1.0])
    position[..., 2] = prior.rest_height[identity]
    identity_of_all = torch.full_like(scenes.identity, identity)
    return dataclasses.replace(scenes, identity=identity_of_all, position=position)


def nearby(decoder: SceneDecoder, scenes: Scenes) -> Scenes:
    """Put scenes off by some 0.5 % of a diameter and 0.5 degrees."""
    moves = Moves(decoder, scenes)
    return moves.at(0.005 * torch.randn(moves.zero().shape, generator=seeded(1)))


@torch.no_grad()
def test_settling_finds_clean_images_poses_exactly(decoder):
    """Most of them: where a face is seen edge-on, its picture jumps, and a jump may be a wall."""
    for identity in (CUBE, CYLINDER):
        truth = scenes_of(decoder, identity, 8)
        found = settle(decoder, decoder.image(truth), nearby(decoder, truth), steps=10)
        metres = (found.position - truth.position).norm(dim=-1)
        radians = (found.yaw - truth.yaw).abs()
        assert ((metres < 1e-4) & (radians < 5e-4)).sum() >= 7


@torch.no_grad()
def test_objects_that_hide_each_other_settle_together(decoder):
    """A cylinder stands behind each cube, half hidden."""
    cube, cylinder = scenes_of(decoder, CUBE, 6), scenes_of(decoder, CYLINDER, 6)
    behind = cube.position + torch.tensor([0.2, 0.5, 0.0])
    behind[..., 2] = cylinder.position[..., 2]
    truth = cube.beside(dataclasses.replace(cylinder, position=behind))
    found = settle(decoder, decoder.image(truth), nearby(decoder, truth), steps=10)
    metres = (found.position - truth.position).norm(dim=-1)
    assert (metres < 1e-3).float().mean() >= 0.75, metres


@torch.no_grad()
def test_errors_are_those_of_an_efficient_estimate(decoder):
    """By the Cramer-Rao bound, e' F e of the best estimate is chi-squared of 3: median 2.4."""
    truth = scenes_of(decoder, CYLINDER, 64)
    clean = decoder.image(truth)
    generator = seeded(2)
    images = clean + decoder.noise_std * torch.randn(clean.shape, generator=generator)
    found = settle(decoder, images, nearby(decoder, truth), steps=10)
    unit = max(mesh.diameter for mesh in decoder.bank.meshes)
    shift = (found.position - truth.position)[..., :2] / unit
    error = torch.cat([shift, (found.yaw - truth.yaw)[..., None] / 2.0], dim=-1)[:, 0]
    slopes, moves = [], Moves(decoder, truth)
    for axis in 1e-3 * torch.eye(3):
        plus, minus = (decoder.image(moves.at(sign * axis.expand(64, 3))) for sign in (1, -1))
        slopes.append((plus - minus).flatten(1) / 2e-3)
    along = (torch.stack(slopes, dim=-1) @ error[..., None])[..., 0] / decoder.noise_std
    assert 1.5 < along.square().sum(dim=1).median() < 3.5


@torch.no_grad()
def test_settling_never_goes_down_and_leaves_absent_objects_alone(decoder):
    truth = scenes_of(decoder, SPHERE, 4)
    absent = dataclasses.replace(truth, identity=torch.full_like(truth.identity, ABSENT))
    both = truth.beside(absent)
    images = decoder.image(truth)
    start = nearby(decoder, both)
    found = settle(decoder, images, start, steps=4)
    before, after = (log_likelihood(decoder, images, scenes) for scenes in (start, found))
    assert (after > before).all()
    torch.testing.assert_close(found.position[:, 1], start.position[:, 1], rtol=0.0, atol=1e-6)
    torch.testing.assert_close(found.yaw[:, 1], start.yaw[:, 1], rtol=0.0, atol=1e-6)


def test_refinement_finds_the_likeliest_of_the_turns_that_count_as_one(decoder):
    """A cube's picture shows faintly along which diagonals its squares are cut: like half turns."""
    truth = scenes_of(decoder, CUBE, 6)
    with torch.no_grad():
        images = decoder.image(truth)
    quarter = truth.rotation @ yaw_rotation(torch.tensor(torch.pi / 2))
    turned = dataclasses.replace(nearby(decoder, truth), rotation=quarter)
    found = refine(decoder, images, turned, steps=16)
    turn = torch.remainder(found.yaw - truth.yaw + torch.pi / 2, torch.pi) - torch.pi / 2
    assert (turn.abs() < 0.01).all()


@torch.no_grad()
def test_nothing_to_settle_is_settled(decoder):
    """Scenes without objects, and batches without scenes, come back as they are."""
    scenes = scenes_of(decoder, CUBE, 3)
    names = ("identity", "position", "rotation", "scale", "colour")
    bare = dataclasses.replace(scenes, **{name: getattr(scenes, name)[:, :0] for name in names})
    images = decoder.image(bare)
    assert len(refine(decoder, images, bare, steps=4)) == 3
    assert len(refine(decoder, images[:0], scenes[:0], steps=4)) == 0


@torch.no_grad()
def test_only_the_turns_of_an_objects_own_symmetry_are_tried(decoder):
    """A cylinder with stripes is as it is, though the cube beside it in the bank has four turns."""
    truth = scenes_of(decoder, CYLINDER, 6)
    found = refine(decoder, decoder.image(truth), nearby(decoder, truth), steps=4)
    turn = torch.remainder(found.yaw - truth.yaw + torch.pi, 2 * torch.pi) - torch.pi
    assert (turn.abs() < 0.05).all()
