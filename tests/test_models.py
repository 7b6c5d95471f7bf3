"""The parts of the model: windows, densities, the guide's loop, decoders."""

import math

import pytest
import torch

from air3d.geometry import plane_log_det, project, unproject_to_plane
from air3d.models import GlimpseConfig, SceneConfig, build_air
from air3d.models.attention import Windows, paint_patch, read_glimpse
from air3d.models.latents import windows_of
from air3d.models.yaw import YawMixture, symmetry_orders
from air3d.objectives import count_log_prior, enumerate_hypotheses
from air3d.scene import camera_of, load_assets, load_scene

SMALL_SCENE = SceneConfig(
    channels=(8, 8, 8), features=32, state=32, glimpse_size=16, glimpse_channels=(8, 8), hidden=32
)
SMALL_GLIMPSE = GlimpseConfig(channels=(4, 4, 4), features=32, state=32, code=8, hidden=32)


@pytest.fixture(scope="module")
def scene_spec():
    return load_scene("scenes/single_object.yaml")


@pytest.fixture(scope="module")
def scene_model(scene_spec):
    torch.manual_seed(0)
    return build_air(scene_spec, SMALL_SCENE, load_assets(scene_spec))


@pytest.fixture(scope="module")
def glimpse_model():
    torch.manual_seed(0)
    return build_air(load_scene("scenes/multi_mnist.yaml"), SMALL_GLIMPSE)


@pytest.fixture
def windows():
    torch.manual_seed(2)
    return Windows(torch.rand(5, 2) - 0.5, 0.2 + 0.4 * torch.rand(5, 2))


def _affine(scale, shift):
    zero = torch.zeros(len(scale))
    rows = [
        torch.stack([scale[:, 0], zero, shift[:, 0]], dim=1),
        torch.stack([zero, scale[:, 1], shift[:, 1]], dim=1),
    ]
    return torch.stack(rows, dim=1)


def test_reading_is_the_spatial_transformer(windows):
    image = torch.rand(5, 2, 20, 30)
    grid = torch.nn.functional.affine_grid(
        _affine(windows.half_side, windows.centre), [5, 2, 12, 12], align_corners=False
    )
    expected = torch.nn.functional.grid_sample(image, grid, align_corners=False)
    torch.testing.assert_close(read_glimpse(image, windows, 12), expected, atol=1e-5, rtol=1e-4)


def test_painting_is_the_inverse_spatial_transformer(windows):
    patch = torch.rand(5, 1, 12, 12)
    theta = _affine(1 / windows.half_side, -windows.centre / windows.half_side)
    grid = torch.nn.functional.affine_grid(theta, [5, 1, 20, 30], align_corners=False)
    expected = torch.nn.functional.grid_sample(patch, grid, align_corners=False)
    torch.testing.assert_close(
        paint_patch(patch, windows, (20, 30)), expected, atol=1e-5, rtol=1e-4
    )


def test_windows_are_square_in_pixels_on_any_image():
    windows = windows_of(torch.tensor([[math.log(0.5), 0.1, 0.2]]), (20, 40))
    pixels = windows.half_side * torch.tensor([40.0, 20.0])
    assert pixels[0].tolist() == pytest.approx([10.0, 10.0])


def _mixture(orders):
    torch.manual_seed(3)
    order = torch.tensor(orders)
    raw = 2 * torch.randn(len(orders), 24, 3)
    return YawMixture.from_raw(raw, torch.randn(len(orders)), order)


@pytest.mark.parametrize("order", symmetry_orders([1, 4, "continuous"]).tolist())
def test_yaw_density_integrates_to_one(order):
    mixture = _mixture([order])
    yaw = torch.linspace(-math.pi, math.pi, 20001)[:-1]
    wide = YawMixture(*(p.expand(len(yaw), *p.shape[1:]) for p in vars(mixture).values()))
    mass = wide.log_prob(yaw).exp().mean() * 2 * math.pi
    assert mass.item() == pytest.approx(1.0, abs=1e-3)


def test_yaw_density_has_the_symmetry_and_no_other():
    mixture = _mixture([4])
    yaw = torch.tensor([0.3])
    quarter, eighth = yaw + math.pi / 2, yaw + math.pi / 4
    torch.testing.assert_close(
        mixture.log_prob(yaw), mixture.log_prob(quarter), atol=1e-3, rtol=1e-4
    )
    assert (mixture.log_prob(yaw) - mixture.log_prob(eighth)).abs().item() > 0.01


def test_yaw_samples_follow_the_density():
    mixture = _mixture([4])
    many = YawMixture(*(p.expand(20000, *p.shape[1:]) for p in vars(mixture).values()))
    yaw = many.rsample()
    assert yaw.min() >= -math.pi and yaw.max() <= math.pi
    folded = torch.remainder(yaw, math.pi / 2)
    counts = torch.histc(folded, bins=16, min=0.0, max=math.pi / 2) / len(yaw)
    fine = (torch.arange(16 * 50) + 0.5) * math.pi / 2 / 800
    wide = YawMixture(*(p.expand(len(fine), *p.shape[1:]) for p in vars(mixture).values()))
    mass = wide.log_prob(fine).exp().reshape(16, 50).mean(dim=1) * 2 * math.pi / 16
    torch.testing.assert_close(counts, mass, atol=0.012, rtol=0)


def test_best_yaw_mode_is_where_the_density_peaks():
    mixture = _mixture([1])
    yaw = torch.linspace(-math.pi, math.pi, 5001)
    wide = YawMixture(*(p.expand(len(yaw), *p.shape[1:]) for p in vars(mixture).values()))
    assert mixture.log_prob(mixture.modes(1)[:, 0]) > wide.log_prob(yaw).max() - 0.7


def test_unprojection_undoes_projection(scene_spec):
    camera = camera_of(scene_spec).expand(4)
    points = torch.rand(4, 7, 3) - 0.5
    back = unproject_to_plane(camera, project(camera, points).pixels, points[..., 2])
    torch.testing.assert_close(back, points, atol=1e-4, rtol=1e-4)


def test_plane_log_det_is_the_derivative_of_projection(scene_spec):
    camera = camera_of(scene_spec).to(dtype=torch.float64)
    point = torch.tensor([0.3, -0.2, 0.15], dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda xy: project(camera, torch.cat([xy, point[2:]])[None, None]).pixels[0, 0], point[:2]
    )
    expected = torch.linalg.det(jacobian).abs().log()
    actual = plane_log_det(camera, point[None, None])[0, 0]
    torch.testing.assert_close(actual, expected)


def test_taught_and_drawn_densities_agree(scene_spec, scene_model):
    """The KL of a draw is the density that teaching gives the same pose, minus the prior."""
    from air3d.models.poses import TrueObject

    torch.manual_seed(4)
    head = scene_model.guide.head
    images, state = torch.rand(6, 3, 64, 64), torch.randn(6, 32)
    drawn = head.sample(images, state, 0)
    posterior = head.posterior(images, state)
    for k in range(3):
        truth = TrueObject(torch.full((6,), k), drawn.position[:, k], drawn.yaw[:, k])
        taught = head.teach(images, state, truth)
        camera = camera_of(scene_spec).expand(6)
        log_det = plane_log_det(camera, drawn.position[:, k : k + 1])[:, 0]
        half_side = (posterior.windows.half_side * head.half_image).log().sum(dim=1)
        log_q = taught.location_log_prob + log_det - half_side + taught.yaw_log_prob
        expected = log_q - head.prior.log_prob_pose(drawn.position[:, k])
        torch.testing.assert_close(drawn.kl[:, k], expected, atol=2e-2, rtol=1e-3)


def test_prefixes_add_one_patch_at_a_time(glimpse_model):
    images = torch.rand(3, 1, 50, 50)
    prefixes = glimpse_model.decoder.prefixes(glimpse_model.mode(images).latents)
    assert prefixes.shape == (3, 4, 1, 50, 50)
    assert prefixes[:, 0].abs().max() == 0
    painted = prefixes.diff(dim=1).flatten(2).amax(dim=2)
    assert (painted > 0).all()


def test_likelihood_of_a_hypothesis_is_that_of_its_rendered_scene(scene_model):
    from air3d.models.decoders import gaussian_log_likelihood
    from air3d.scene import Scenes

    torch.manual_seed(5)
    images = torch.rand(2, 3, 64, 64)
    latents = scene_model.mode(images).latents
    scores = scene_model.decoder.log_likelihood(images, latents, enumerate_hypotheses(1, 3))
    for k in range(3):
        scenes = Scenes(torch.full((2, 1), k), latents.position[:, :, k], latents.yaw[:, :, k])
        image = scene_model.decoder.image(scenes)[:, None]
        expected = gaussian_log_likelihood(images, image, scene_model.decoder.noise_std)[:, 0]
        torch.testing.assert_close(scores[:, 1 + k], expected, rtol=1e-4, atol=1.0)


@pytest.mark.parametrize("kind", ["scene_model", "glimpse_model"])
def test_elbo_trains_every_weight(kind, request):
    model = request.getfixturevalue(kind)
    torch.manual_seed(6)
    size = model.spec.image_size
    images = torch.rand(4, model.spec.num_channels, *size)
    model.zero_grad()
    elbo = model.elbo(images, count_log_prior(model.spec.count, model.max_steps))
    assert torch.isfinite(elbo.value).all()
    (-elbo.value.mean()).backward()
    without = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    if model.max_steps == 1:  # the recurrent weights meet nothing but the initial zeros
        without -= {"guide.cell.weight_hh"}
    assert not without


def test_elbo_bounds_the_importance_weighted_estimate(glimpse_model):
    """E[log mean_k w_k] grows with k (Burda et al. 2016), and k = 1 is the ELBO."""
    torch.manual_seed(7)
    images = torch.rand(4, 1, 50, 50)
    prior = count_log_prior(glimpse_model.spec.count, 3)
    with torch.no_grad():
        draws = torch.stack([glimpse_model.elbo(images, prior).value for _ in range(40)])
    assert (draws.logsumexp(dim=0) - math.log(40) >= draws.mean(dim=0)).all()


def test_too_many_hypotheses_are_refused(scene_model):
    spec = scene_model.spec
    objects = spec.objects.model_copy(update={"count": (0.1,) * 10})
    crowded = spec.model_copy(update={"objects": objects})
    model = build_air(crowded, SMALL_SCENE, scene_model.meshes)
    with pytest.raises(ValueError, match="combinations of count and identities"):
        model.elbo(torch.rand(1, 3, 64, 64), count_log_prior(crowded.count, 9))


def test_sizes_must_fit_the_scene_file(scene_spec):
    with pytest.raises(TypeError, match="does not fit a scene file"):
        build_air(scene_spec, GlimpseConfig())
