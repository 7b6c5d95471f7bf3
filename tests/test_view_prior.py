"""Where the camera and the light may be, and their coordinates."""

import math

import pytest
import torch
from conftest import ROOT

from air3d.geometry import angles_of, direction_of, from_target, orbit, project
from air3d.scene import SceneSpec, SoftBox, ViewPrior, known_view, load_scene
from air3d.scene.spec import Range


def scene(name: str) -> SceneSpec:
    spec = load_scene(ROOT / "scenes" / f"{name}.yaml")
    assert isinstance(spec, SceneSpec)
    return spec


def test_directions_and_angles_are_inverse():
    azimuth = torch.linspace(-3.1, 3.1, 7, dtype=torch.float64)
    elevation = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)
    back = angles_of(3.0 * direction_of(azimuth, elevation))
    torch.testing.assert_close(back[0], azimuth)
    torch.testing.assert_close(back[1], elevation)


def test_a_camera_on_its_orbit_looks_at_the_target_from_its_distance():
    spec = scene("tabletop")
    prior = ViewPrior(spec)
    view = prior.view(prior.sample(20, torch.Generator().manual_seed(0)))
    target = torch.tensor(spec.camera.target)
    seen = project(view.camera, target.expand(20, 1, 3))
    torch.testing.assert_close(seen.pixels, torch.full((20, 1, 2), 32.0), atol=1e-3, rtol=0)
    away = from_target(view.camera.world_to_camera, target).norm(dim=1)
    torch.testing.assert_close(seen.depth[:, 0], away)
    assert spec.camera.distance is not None
    assert ((away > spec.camera.distance.low) & (away < spec.camera.distance.high)).all()


def test_a_view_comes_back_from_its_coordinates_and_passes_gradients():
    prior = ViewPrior(scene("tabletop"))
    assert [unknown.name for unknown in prior.unknowns] == [
        "camera_azimuth",
        "camera_elevation",
        "camera_distance",
        "light_azimuth",
        "light_elevation",
        "light_ambient",
        "light_diffuse",
    ]
    drawn = prior.sample(50, torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(prior.coordinates(prior.view(drawn)), drawn, atol=1e-5, rtol=0)
    start = drawn[:2].clone().requires_grad_()

    def numbers(coordinates):
        view = prior.view(coordinates)
        return view.camera.world_to_camera, view.light.source, view.light.diffuse

    assert torch.autograd.gradcheck(numbers, start)


def test_a_known_view_has_no_coordinates():
    spec = scene("single_object")
    view, prior = known_view(spec), ViewPrior(spec)
    assert len(view.camera) == len(view.light) == 1 and prior.unknowns == ()
    assert prior.coordinates(view).shape == (1, 0)
    assert prior.log_prob(torch.zeros(3, 0)).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="tabletop: has no one view, as it leaves camera_azimuth"):
        known_view(scene("tabletop"))


def test_orbits_turn_with_their_azimuth():
    """A camera a quarter turn further sees the world as turned back by it."""
    target = torch.tensor([0.1, -0.2, 0.3])
    two = torch.tensor([0.4, 0.4 + math.pi / 2])
    at = orbit(two, torch.full((2,), 0.7), torch.full((2,), 1.5), target)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(at[1, :3, :3], at[0, :3, :3] @ turn.T, atol=1e-6, rtol=0)


def test_a_soft_box_is_uniform_inside_and_falls_outside():
    box = SoftBox.of([Range(low=-1.0, high=1.0), Range(low=0.0, high=4.0)])
    drawn = box.sample((10000,), torch.Generator().manual_seed(0))
    assert ((drawn >= box.low) & (drawn <= box.high)).all()
    torch.testing.assert_close(drawn.mean(dim=0), torch.tensor([0.0, 2.0]), atol=0.05, rtol=0)
    inside, outside = torch.tensor([0.9, 3.9]), torch.tensor([1.1, 3.9], requires_grad=True)
    assert box.log_prob(inside).exp().item() == pytest.approx(1 / 8)
    score = box.log_prob(outside)
    score.backward()
    assert score < math.log(1 / 8) - 5 and outside.grad is not None
    assert outside.grad[0] < 0 and outside.grad[1] == 0
