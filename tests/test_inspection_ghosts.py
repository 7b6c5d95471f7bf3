"""Draws from the posterior come as often as it says, and shine through as often as they come."""

import numpy as np
import pytest
import torch
import trimesh
from conftest import ROOT

from air3d.geometry import Camera, look_at
from air3d.inspection.ghosts import DIMMED, draw_scenes, ghosts
from air3d.models import GlimpseConfig, SceneConfig, build_air
from air3d.objectives import count_log_prob
from air3d.scene import ABSENT, ambient_light, load_assets, load_mesh, load_scene, upright_scenes


@pytest.fixture(scope="module")
def model():
    """An untrained model of the table-top scene, which is unsure of everything."""
    torch.manual_seed(0)
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    sizes = SceneConfig(channels=(4, 4, 4), features=8, state=8, glimpse_channels=(4, 4, 4))
    return build_air(spec, sizes, load_assets(spec)).eval()


def test_draws_come_as_often_as_the_posterior_says(model):
    """Counts, and the first object's identity, against their probabilities in the mode's pass.

    The first step knows of no object before it, so its presence hangs on the view alone.
    """
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    number = 400
    scenes = draw_scenes(model, image, number)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        unrolled = model.guide.sample(image.expand(number, 3, 64, 64))
    expected = count_log_prob(unrolled.presence_logits).exp().mean(dim=0)
    seen = torch.bincount(scenes.count, minlength=len(expected)) / number
    assert (seen - expected).abs().max() < 5 * 0.5 / number**0.5
    first = scenes.identity[:, 0]
    shown = torch.bincount(first[first != ABSENT], minlength=8) / (first != ABSENT).sum()
    probability = unrolled.latents.identity_log_prob[:, 0].exp().mean(dim=0)
    assert (shown - probability).abs().max() < 5 * 0.5 / number**0.5
    assert scenes.position[:, 0, 0].std() > 0.01 and scenes.yaw[:, 0].std() > 0.1


def test_the_same_seed_draws_the_same_and_disturbs_nobody(model):
    image = torch.zeros(3, 64, 64)
    before = torch.random.get_rng_state()
    one, again, other = (draw_scenes(model, image, 3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.position, again.position) and torch.equal(one.colour, again.colour)
    assert not torch.equal(one.position, other.position)


def test_a_2d_model_has_no_scenes_to_draw():
    spec = load_scene(ROOT / "scenes" / "multi_mnist.yaml")
    sizes = GlimpseConfig(channels=(4, 4, 4), features=8, state=8, code=4, hidden=8)
    with pytest.raises(ValueError, match="multi_mnist is a 2D model"):
        draw_scenes(build_air(spec, sizes, ()), torch.zeros(1, 50, 50), 2)


def test_a_line_is_as_opaque_as_the_root_of_its_scenes_share(tmp_path):
    """One of four scenes shows a block that is seen head on; the others show nothing."""
    trimesh.creation.box((0.4, 0.2, 0.2)).export(tmp_path / "block.ply")
    block = load_mesh(tmp_path / "block.ply", "block", 2)
    world_to_camera = look_at(torch.tensor([0.0, -2.0, 0.0]), torch.tensor([0.0, 0.0, 0.0]))
    intrinsics = torch.tensor([[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]])
    identity = torch.tensor([[0], [ABSENT], [ABSENT], [ABSENT]])
    scenes = upright_scenes(
        identity,
        torch.zeros(4, 1, 3),
        torch.zeros(4, 1),
        camera=Camera(world_to_camera[None], intrinsics[None], (48, 64)),
        light=ambient_light(),
    )
    white = torch.ones(3, 48, 64)
    faint, full = (
        np.asarray(ghosts(white, rows, [block], scale=8), float) / 255
        for rows in (scenes, scenes[:1])
    )
    assert faint[10, 10] == pytest.approx([DIMMED] * 3, abs=0.01)
    edge = (round(8 * (24 - 100 * 0.1 / 1.9)), 8 * 32)
    line = full[edge]
    assert line[0] < 0.2 and line[2] > 0.9  # the first kind's cyan
    assert faint[edge] == pytest.approx(0.5 * line + 0.5 * DIMMED, abs=0.03)
