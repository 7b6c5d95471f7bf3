"""How far objects may be from where they are found, held against what noise does."""

import dataclasses

import pytest
import torch
from conftest import ROOT
from model_cases import SMALL

from air3d.data import SceneStream
from air3d.estimate import ObjectEstimate, PatchEstimate
from air3d.geometry import project, unproject_to_plane
from air3d.inference import Effort, infer
from air3d.inference.explanations import Explanations, mode_of
from air3d.inference.settling import settle
from air3d.inference.spread import spread_at_peak, spread_of_guide
from air3d.models import build_air
from air3d.models.decoders import SceneDecoder
from air3d.scene import Scenes, View, ViewPrior, load_assets, load_scene
from air3d.scene.spec import SceneSpec


@pytest.fixture(scope="module")
def spec() -> SceneSpec:
    spec = load_scene(ROOT / "scenes" / "tabletop_easy.yaml")
    assert isinstance(spec, SceneSpec)
    return spec


def one_scene(spec: SceneSpec, count: int) -> Scenes:
    """Return a scene of so many objects, none hidden."""
    scenes = SceneStream(spec, batch=64, seed=3).batch(0).scenes
    return scenes[(scenes.count == count).nonzero()[:1, 0]]


def test_at_a_peak_it_is_what_fits_to_noisy_images_scatter_by(spec):
    decoder = SceneDecoder(spec, load_assets(spec))
    scene = one_scene(spec, 2)
    copies = scene[torch.zeros(48, dtype=torch.int64)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        images = decoder.image(copies)
    images = images + decoder.noise_std * torch.randn(images.shape, generator=generator)
    found = settle(decoder, images, copies, steps=6).position[:, :2, :2]
    claimed = spread_at_peak(decoder, scene)[0, :2]
    for index in range(2):
        scatter = found[:, index].T.cov()
        # The mean squared distance in claimed standard deviations is 2; what is claimed allows for
        # fits that begin farther away than at the truth.
        squared = torch.linalg.solve(claimed[index], scatter).trace()
        assert 0.35 < squared.item() < 2.6


def test_at_the_edge_of_a_range_it_is_as_within(spec):
    """A guide may believe that the camera is farther away than it ever is; no move leads there."""
    decoder, scene = SceneDecoder(spec, load_assets(spec)), one_scene(spec, 1)
    prior = ViewPrior(spec)
    seen = prior.coordinates(View(scene.camera, scene.light))
    spread = []
    for beyond in (0.0, 0.1):
        farthest = torch.tensor([unknown.range.high + beyond for unknown in prior.unknowns])
        is_circular = torch.tensor([unknown.circular for unknown in prior.unknowns])
        view = prior.view(torch.where(is_circular, seen, farthest))
        there = dataclasses.replace(scene, camera=view.camera, light=view.light)
        spread.append(spread_at_peak(decoder, there)[0])
    torch.testing.assert_close(spread[1], spread[0], rtol=0.02, atol=1e-9)


def test_in_one_pass_place_and_camera_add_up(spec):
    """As places drawn in the image scatter, unprojected by cameras drawn likewise."""
    model = build_air(spec, SMALL, load_assets(spec))
    prior, scene = model.pose_head.prior.view, one_scene(spec, 1)
    in_image = torch.tensor([[0.04, 0.01], [0.01, 0.02]])
    std = torch.tensor([[0.003, 0.004, 0.002]])
    explained = Explanations(
        scene,
        cost=torch.zeros(1, scene.identity.shape[1]),
        identity_probability=torch.ones(1, scene.identity.shape[1]),
        pixel_covariance=in_image.expand(1, scene.identity.shape[1], 2, 2),
        rotation_modes=scene.rotation[:, :, None],
    )
    claimed = spread_of_guide(prior, explained, std)[0, 0]
    torch.manual_seed(0)
    number = 20_000
    pixels = project(scene.camera, scene.position).pixels[:, :1]
    drawn = pixels + torch.randn(number, 1, 2) @ torch.linalg.cholesky(in_image).T
    coordinates = prior.coordinates(View(scene.camera, scene.light))
    cameras = prior.view(coordinates + std * torch.randn(number, 3)).camera
    height = scene.position[:, :1, 2].expand(number, 1)
    scatter = unproject_to_plane(cameras, drawn, height)[:, 0, :2].T.cov()
    torch.testing.assert_close(claimed, scatter, rtol=0.05, atol=1e-7)


def test_a_told_camera_adds_nothing(spec):
    model = build_air(spec, SMALL, load_assets(spec))
    batch = SceneStream(spec, batch=4, seed=0).batch(0)
    with torch.no_grad():
        unrolled = model.mode(batch.images)
    assert unrolled.seen is not None and (unrolled.seen.std > 0).all()
    explained, prior = mode_of(unrolled), model.pose_head.prior.view
    sure = spread_of_guide(prior, explained, torch.zeros_like(unrolled.seen.std))
    unsure = spread_of_guide(prior, explained, unrolled.seen.std)
    assert (torch.linalg.eigvalsh(unsure - sure) > -1e-6).all()


def test_refined_estimates_carry_what_the_pixels_leave_open(spec):
    model = build_air(spec, SMALL, load_assets(spec)).eval()
    images = SceneStream(spec, batch=3, seed=1).batch(0).images
    one_pass, refined = infer(model, images), infer(model, images, Effort(refine_steps=2))
    before, after = ([_std(o) for e in each for o in e.objects] for each in (one_pass, refined))
    assert after and (torch.stack(after) < 0.01).all() and (torch.stack(before) > 0.01).all()


def _std(found: ObjectEstimate | PatchEstimate) -> torch.Tensor:
    assert isinstance(found, ObjectEstimate)
    return found.position_std
