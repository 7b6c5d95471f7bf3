"""Draws from the posterior come as often as it says, and shine through as often as they come."""

import numpy as np
import PIL.ImageColor
import pytest
import torch
import trimesh
from conftest import ROOT

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.geometry import Camera, look_at
from air3d.inspection.ghosts import DIMMED, draw_scenes, ghosts
from air3d.inspection.panels import colour_of_kind, overlay
from air3d.inspection.placement import placements_in
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


@pytest.fixture
def block(tmp_path):
    trimesh.creation.box((0.4, 0.2, 0.2)).export(tmp_path / "block.ply")
    return load_mesh(tmp_path / "block.ply", "block", 2)


def seen_head_on(identity):
    """Scenes of one block each, in the middle of a small picture, or of none."""
    number = len(identity)
    world_to_camera = look_at(torch.tensor([0.0, -2.0, 0.0]), torch.tensor([0.0, 0.0, 0.0]))
    intrinsics = torch.tensor([[100.0, 0.0, 32.0], [0.0, 100.0, 24.0], [0.0, 0.0, 1.0]])
    return upright_scenes(
        torch.tensor(identity)[:, None],
        torch.zeros(number, 1, 3),
        torch.zeros(number, 1),
        camera=Camera(world_to_camera[None], intrinsics[None], (48, 64)),
        light=ambient_light(),
    )


def test_the_panels_of_a_picture_agree_in_the_colours_of_kinds(block):
    """Of the second of two kinds, found alone: its outline, and that of the only draw."""
    scene = seen_head_on([1])
    (placement,) = placements_in(scene, [block, block])
    found = ObjectEstimate(
        *("block", 1, 1.0, 1.0, placement.object_to_world, 1.0, torch.ones(3), torch.zeros(2, 2))
    )
    black = torch.zeros(3, 48, 64)
    estimate = SceneEstimate(1, (0.0, 1.0), (found,), scene.camera, scene.light, black, 0.0)
    edge = (round(8 * (24 - 100 * 0.1 / 1.9)), 8 * 26)  # beside the axes
    panels = (
        overlay(black, estimate, [block, block], scale=8),
        ghosts(black, scene, [block, block], scale=8),
    )
    inferred, drawn = (np.asarray(panel, int)[edge] for panel in panels)
    assert abs(inferred - PIL.ImageColor.getrgb(colour_of_kind(1))).max() < 8
    assert abs(inferred - drawn).max() < 8


def test_a_line_is_as_opaque_as_the_root_of_its_scenes_share(block):
    """One of four scenes shows a block that is seen head on; the others show nothing."""
    scenes = seen_head_on([0, ABSENT, ABSENT, ABSENT])
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
