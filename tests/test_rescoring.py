"""A search through the renderer leaves wrong modes, and never goes for worse."""

import dataclasses
import math

import pytest
import torch
from conftest import ROOT

from air3d.data import SceneStream
from air3d.geometry import yaw_rotation
from air3d.inference import rescoring
from air3d.inference.explanations import Explanations, score
from air3d.inference.proposals import ROTATIONS, propose
from air3d.inference.rescoring import rescore, surprising
from air3d.inference.settling import log_likelihood, settle_object
from air3d.inference.turning import try_lights
from air3d.models import SceneConfig, build_air
from air3d.models.rotations import UprightHead
from air3d.scene import (
    ABSENT,
    Scenes,
    SceneSpec,
    View,
    ViewPrior,
    concatenate,
    load_assets,
    load_scene,
)

SMALL = SceneConfig(channels=(4, 4, 4), features=8, state=8, search=4, glimpse_channels=(4, 4, 4))


@pytest.fixture(scope="module")
def model():
    """An untrained model: what is found, the search finds without the network's help."""
    spec = load_scene(ROOT / "scenes/tabletop.yaml")
    torch.manual_seed(0)
    return build_air(spec, SMALL, load_assets(spec))


@pytest.fixture(scope="module")
def table(model):
    """Images of three to six objects, and what they show."""
    batch = SceneStream(model.spec, batch=24, seed=5).batch(0)
    rows = (batch.scenes.count >= 3) & (batch.scenes.count < 6)
    return batch.images[rows][:6], batch.scenes[rows][:6].near_to_far()


def as_explanations(scenes: Scenes, cost: float = 15.0) -> Explanations:
    shape = scenes.identity.shape
    return Explanations(
        scenes,
        cost=torch.full(shape, cost),
        identity_probability=torch.ones(shape),
        pixel_covariance=torch.eye(2).expand(*shape, 2, 2),
        rotation_modes=scenes.rotation[..., None, :, :].expand(*shape, UprightHead.num_modes, 3, 3),
    )


def doubled(scenes: Scenes) -> Scenes:
    """Put a second object like the first into the first free slot."""
    order = torch.where(scenes.identity == ABSENT, ABSENT, torch.arange(6))
    free = torch.arange(6) == scenes.count[:, None]
    return scenes.pick(torch.where(free, 0, order))


@torch.no_grad()
def test_scores_weigh_likelihood_against_cost_kinds_and_room(model, table):
    images, scenes = table
    here = score(model, images, as_explanations(scenes))
    decoder, count = model.scene_decoder, scenes.count
    assert (log_likelihood(decoder, images, scenes) > here).all()
    dearer = score(model, images, as_explanations(scenes, cost=16.0))
    torch.testing.assert_close(here - dearer, count.float(), atol=0.01, rtol=0)
    twice = doubled(scenes)
    loss = log_likelihood(decoder, images, twice) - score(model, images, as_explanations(twice))
    assert (loss > 500).all()  # nats: nothing stands where another thing stands


@torch.no_grad()
def test_scores_forbid_repeats_where_the_scene_file_does(table):
    images, scenes = table
    spec = load_scene(ROOT / "scenes/tabletop.yaml")
    spec = spec.model_copy(update={"objects": spec.objects.model_copy(update={"repeats": False})})
    torch.manual_seed(0)
    strict = build_air(spec, SMALL, load_assets(spec))
    slots = torch.arange(6)
    different = dataclasses.replace(
        scenes, identity=torch.where(scenes.identity == ABSENT, ABSENT, slots)
    )
    assert score(strict, images, as_explanations(different)).isfinite().all()
    same = dataclasses.replace(scenes, identity=scenes.identity.clamp(max=0))
    assert (score(strict, images, as_explanations(same)) == -math.inf).all()


@torch.no_grad()
def test_what_explains_nothing_is_dropped(model, table):
    images, scenes = table
    found = rescore(model, images, as_explanations(doubled(scenes)), rounds=0).scenes
    assert torch.equal(found.identity, scenes.identity)
    torch.testing.assert_close(found.position[:, :3], scenes.position[:, :3])


@torch.no_grad()
def test_what_is_turned_to_the_wrong_side_turns_back(model, table):
    """The mug's handle is wrong by half a turn, from where climbing leads nowhere."""
    images, scenes = table
    kinds = [mesh.name for mesh in model.meshes]
    handled = (scenes.identity == kinds.index("mug")) | (scenes.identity == kinds.index("teapot"))
    some = handled.any(dim=1)
    images, scenes, handled = images[some], scenes[some], handled[some]
    assert some.sum() >= 2
    first = handled & (handled.cumsum(dim=1) == 1)
    turned = scenes.rotation @ yaw_rotation(torch.where(first, math.pi, 0.0))
    start = as_explanations(dataclasses.replace(scenes, rotation=turned))
    found = rescore(model, images, start, rounds=3)
    assert (score(model, images, found) >= score(model, images, start)).all()
    assert torch.equal(found.scenes.identity, scenes.identity)
    off = (found.scenes.yaw - scenes.yaw)[first].abs()
    degrees = torch.rad2deg(torch.minimum(off, 2 * math.pi - off))
    assert (degrees < 10).float().mean() > 0.6


@torch.no_grad()
def test_scores_never_fall(model, table):
    """Whatever an untrained network proposes where an object is missing."""
    images, scenes = table[0][:2], table[1][:2]
    order = torch.arange(6)
    fewer = scenes.pick(torch.where(order < scenes.count[:, None] - 1, order, ABSENT))
    start = as_explanations(fewer)
    found = rescore(model, images, start, rounds=1)
    assert (score(model, images, found) >= score(model, images, start)).all()


@torch.no_grad()
def test_one_object_settles_and_the_others_stay(model, table):
    images, scenes = table
    clean = model.scene_decoder.image(scenes)
    slot = torch.ones(len(scenes), dtype=torch.int64)
    off = torch.zeros_like(scenes.position)
    off[:, 1, :2] = torch.tensor([0.006, -0.004])
    start = dataclasses.replace(scenes, position=scenes.position + off)
    found = settle_object(model.scene_decoder, clean, start, slot, steps=8)
    away = (found.position - scenes.position).norm(dim=-1)
    assert (away[:, 1] < 1e-3).float().mean() > 0.7
    others = (torch.arange(6) != 1) & (scenes.identity != ABSENT)
    assert torch.equal(found.position[others], start.position[others])
    assert torch.equal(found.identity, scenes.identity)


@torch.no_grad()
def test_the_light_is_found_from_behind(model, table):
    images, scenes = table
    prior = ViewPrior(model.spec)
    axis = [unknown.name for unknown in prior.unknowns].index("light_azimuth")
    truth = prior.coordinates(View(scenes.camera, scenes.light))
    behind = truth.clone()
    behind[:, axis] += math.radians(165)
    start = dataclasses.replace(scenes, light=prior.view(behind).light)
    found = try_lights(model.scene_decoder, images, start)
    azimuth = prior.coordinates(View(found.camera, found.light))[:, axis]
    off = torch.remainder(azimuth - truth[:, axis] + math.pi, 2 * math.pi) - math.pi
    assert (off.abs() < math.radians(16)).all()


@torch.no_grad()
def test_proposals_are_of_every_kind_and_stand_on_the_plane(model, table):
    images, scenes = table
    encoded = model.guide.encoder(images)
    found = propose(model, images, encoded, scenes, torch.zeros(len(images), 2)).scenes
    number = len(model.meshes)
    assert found.identity.tolist() == [sorted(list(range(number)) * ROTATIONS)] * len(images)
    height = torch.tensor([mesh.rest_height for mesh in model.meshes])[found.identity]
    torch.testing.assert_close(found.position[..., 2], height * found.scale, atol=1e-4, rtol=1e-4)


def test_scenes_drawn_anew_win_where_everything_is_wrong(model, table, monkeypatch):
    images, scenes = table
    order = torch.arange(len(scenes)).roll(1)
    wrong = as_explanations(dataclasses.replace(scenes[order], camera=scenes.camera))
    monkeypatch.setattr(model.guide, "sample", lambda copies: len(copies))
    monkeypatch.setattr(
        rescoring, "draw_of", lambda rows: as_explanations(concatenate([scenes] * rows)[:rows])
    )
    found = rescore(model, images, wrong, rounds=2)
    truth = score(model, images, as_explanations(scenes))
    assert (score(model, images, found) > truth - 1.0).all()


def test_single_objects_are_searched_too():
    """Beside the only object that a scene may have, nothing is known."""
    spec = load_scene(ROOT / "scenes/single_object.yaml")
    assert isinstance(spec, SceneSpec)
    torch.manual_seed(0)
    model = build_air(spec, SMALL, load_assets(spec))
    batch = SceneStream(spec, batch=2, seed=0).batch(0)
    wrong = as_explanations(batch.scenes[torch.tensor([1, 0])])
    found = rescore(model, batch.images, wrong, rounds=1)
    before, after = (score(model, batch.images, some) for some in (wrong, found))
    assert (after > before).all()


def test_noise_is_no_surprise_but_a_few_wrong_pixels_are():
    torch.manual_seed(0)
    excess = torch.randn(50, 3, 64, 64).square().mean(dim=1) - 1.0
    assert not surprising(excess, channels=3).any()
    excess[0, 20:25, 30:35] += 1.5  # 19 nats of 8,700 that noise leaves
    excess[1] += 0.06
    assert surprising(excess, channels=3).nonzero().flatten().tolist() == [0, 1]
