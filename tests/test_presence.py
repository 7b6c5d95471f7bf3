"""Told what an image shows, the guide knows whether there is more."""

import pytest
import torch
from conftest import ROOT

from air3d.checkpoint import load_model
from air3d.data import SceneStream
from air3d.inference import Effort, infer
from air3d.objectives import count_log_prob
from air3d.scene import ABSENT


@pytest.fixture(scope="module")
def model():
    return load_model(ROOT / "assets/checkpoints/tabletop")


@pytest.fixture(scope="module")
def tables(model):
    """Laid tables with at least two objects, all of which can be seen."""
    batch = SceneStream(model.spec, batch=48, seed=11).batch(0)
    rows = batch.scenes.count >= 2
    return batch.images[rows], batch.scenes[rows].near_to_far()


def test_told_all_objects_it_finds_no_more_and_told_fewer_it_does(model, tables):
    images, scenes = tables
    every = count_log_prob(model.presence_given(images, scenes)).exp()
    torch.testing.assert_close(every.sum(dim=1), torch.ones(len(images)))
    assert every.gather(1, scenes.count[:, None]).median() > 0.95
    slots = torch.arange(scenes.identity.shape[1])
    last = scenes.count[:, None] - 1
    fewer = scenes.pick(torch.where(slots < last, slots, ABSENT))
    said = count_log_prob(model.presence_given(images, fewer)).exp()
    assert said.gather(1, last).median() < 0.05
    # No step looks beyond the first one that has no object: all later counts are ruled out.
    beyond = torch.arange(said.shape[1]) > fewer.count[:, None] + 1
    assert (said[beyond] == 0).all()


def test_the_order_in_which_objects_come_does_not_matter(model, tables):
    images, scenes = tables
    order = scenes.count[:, None] - 1 - torch.arange(scenes.identity.shape[1])
    backwards = scenes.pick(order.clamp(min=ABSENT))
    given = model.presence_given(images[:8], scenes[:8])
    torch.testing.assert_close(model.presence_given(images[:8], backwards[:8]), given)


def test_a_search_says_how_sure_it_is_of_what_it_found(model, tables, monkeypatch):
    images, _ = tables
    told, given = [], model.presence_given

    def listening(images, scenes):
        told.append((scenes, given(images, scenes)))
        return told[-1][1]

    monkeypatch.setattr(model, "presence_given", listening)
    estimates = infer(model, images[:4], Effort(refine_steps=2))
    ((scenes, logits),) = told
    for row, estimate in enumerate(estimates):
        wanted = count_log_prob(logits)[row].exp().tolist()
        assert list(estimate.count_probability) == pytest.approx(wanted, abs=1e-6)
        poses = torch.stack([found.object_to_world for found in estimate.objects])
        torch.testing.assert_close(poses, scenes.object_to_world[row, : estimate.count])
        depth = (estimate.camera.world_to_camera[0] @ poses[:, :, 3].mT)[2]
        assert (depth.diff() >= 0).all()
        assert sum(estimate.count_probability) == pytest.approx(1.0, abs=1e-5)
        sure = [found.presence_probability for found in estimate.objects]
        at_least = [sum(estimate.count_probability[n + 1 :]) for n in range(estimate.count)]
        assert sure == pytest.approx(at_least, abs=1e-5)
