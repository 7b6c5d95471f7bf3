"""Two looks at an object: the second is centred on it and as large as it is."""

import dataclasses

import pytest
import torch
from conftest import ROOT
from model_cases import SMALL
from torch.distributions import Categorical, MultivariateNormal

from air3d.data import SceneStream
from air3d.models import build_air
from air3d.models.attention import Windows
from air3d.models.guide import Observation
from air3d.models.pose_posterior import Aim, TrueObjects
from air3d.models.poses import GLIMPSE_MARGIN
from air3d.scene import View, load_assets, load_scene
from air3d.scene.spec import SceneSpec

BATCH = 6


@pytest.fixture(scope="module")
def case():
    """A model of laid tables that knows nothing yet, and images whose views it is told."""
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    assert isinstance(spec, SceneSpec)
    torch.manual_seed(0)
    model = build_air(spec, SMALL, load_assets(spec))
    batch = SceneStream(spec, batch=BATCH, seed=0).batch(0)
    assert model.guide.viewer is not None
    seen = model.guide.viewer.told(View(batch.scenes.camera, batch.scenes.light))
    return model, Observation(batch.images, seen), batch.scenes


def aim_at(head, what: int) -> Aim:
    """Return an aim at the middle of the image, sure of one kind of object."""
    logits = torch.full((BATCH, head.num_identities), -9.0)
    logits[:, what] = 9.0
    windows = Windows(torch.zeros(BATCH, 2), torch.full((BATCH, 2), 0.5))
    place = MultivariateNormal(torch.full((BATCH, 2), 0.2), torch.eye(2).expand(BATCH, 2, 2))
    return Aim(windows, torch.zeros(BATCH, 32), Categorical(logits=logits), place)


def test_the_closer_window_is_as_large_as_what_is_taken_aim_at(case):
    model, observation, _ = case
    head, state = model.pose_head, torch.zeros(BATCH, 32)
    camera = observation.seen.view.camera
    for what, mesh in enumerate(model.meshes):
        aim = aim_at(head, what)
        torch.testing.assert_close(aim.centre, torch.full((BATCH, 2), 0.1))
        with torch.no_grad():
            windows = head.posterior(observation, aim, aim.centre, state).windows
        torch.testing.assert_close(windows.centre, aim.centre)
        pixels = 2 * windows.half_side * head.half_image
        depth = head.depth_at(aim.centre, camera)
        metres = pixels * (depth / camera.intrinsics[:, 0, 0])[:, None]
        wanted = torch.full((BATCH, 2), GLIMPSE_MARGIN * mesh.diameter)
        torch.testing.assert_close(metres, wanted, rtol=1e-4, atol=0.0)


def test_an_aim_stays_within_the_image(case):
    """Beyond its edges there is nothing to be seen, and the camera's ray may miss the table."""
    aim = aim_at(case[0].pose_head, 0)
    near_the_edge = Windows(aim.windows.centre + 0.98, aim.windows.half_side)
    aim = dataclasses.replace(aim, windows=near_the_edge)
    torch.testing.assert_close(aim.centre, torch.ones(BATCH, 2))


def test_only_its_own_term_teaches_where_to_look_closely(case):
    """Were it moved by how well poses are told, it would learn to see what is easy to tell."""
    model, observation, scenes = case
    head = model.pose_head
    row = torch.arange(BATCH)[scenes.count > 0]
    truth = TrueObjects.of(scenes, row, torch.zeros_like(row))
    encoded = model.guide.encoder(observation.images)
    look = head.look(encoded.map, observation.images, torch.zeros(BATCH, 32))
    aim = dict(head.aim.named_parameters())

    def gradients(names: set[str]) -> list[torch.Tensor]:
        head.zero_grad()
        taught = head.teach(observation[row], look[row], truth)
        wanted = [value.sum() for name, value in vars(taught).items() if name in names]
        torch.stack(wanted).sum().backward()
        return [torch.zeros(()) if p.grad is None else p.grad.abs().sum() for p in aim.values()]

    others = {"identity", "location", "rotation", "appearance"}
    assert all(g == 0 for g in gradients({f"{name}_log_prob" for name in others}))
    assert all(g > 0 for g in gradients({"attention_log_prob"}))


def test_the_elbo_moves_where_to_look_closely(case):
    """Without a teacher, the place of what is drawn leads there."""
    model, observation, _ = case
    head = model.pose_head
    encoded = model.guide.encoder(observation.images)
    look = head.look(encoded.map, observation.images, torch.zeros(BATCH, 32))
    head.zero_grad()
    torch.manual_seed(1)
    head.sample(observation, look).position.sum().backward()
    assert head.aim[2].bias.grad[head.num_identities :][:2].abs().min() > 0
