"""The parts of the model: windows, densities, the guide's loop, decoders."""

import dataclasses
import math

import pytest
import torch
from conftest import ROOT
from model_cases import SMALL, check_taught_as_drawn

from air3d.data import SceneStream
from air3d.geometry import yaw_rotation
from air3d.inference import Effort, infer
from air3d.inference.explanations import mode_of
from air3d.models import GlimpseConfig, SceneConfig, build_air, compute_convolutions_in
from air3d.models.attention import Windows, paint_patch, read_glimpse
from air3d.models.decoders import gaussian_log_likelihood
from air3d.models.guide import Observation
from air3d.models.latents import windows_of
from air3d.models.lessons import lesson
from air3d.models.views import ViewHead
from air3d.models.yaw import YawMixture, symmetry_orders
from air3d.objectives import count_log_prior, count_log_prob, enumerate_swaps
from air3d.scene import (
    ABSENT,
    View,
    ViewPrior,
    known_view,
    load_assets,
    load_scene,
    upright_scenes,
)

SMALL_SCENE = dataclasses.replace(SMALL, remains=(8, 8))
SMALL_GLIMPSE = GlimpseConfig(channels=(4, 4, 4), features=32, state=32, code=8, hidden=32)


@pytest.fixture(scope="module")
def scene_spec():
    return load_scene(ROOT / "scenes/single_object.yaml")


@pytest.fixture(scope="module")
def scene_model(scene_spec):
    torch.manual_seed(0)
    return build_air(scene_spec, SMALL_SCENE, load_assets(scene_spec))


@pytest.fixture(scope="module")
def glimpse_model():
    torch.manual_seed(0)
    return build_air(load_scene(ROOT / "scenes/multi_mnist.yaml"), SMALL_GLIMPSE)


@pytest.fixture
def windows():
    torch.manual_seed(2)
    return Windows(torch.rand(5, 2) - 0.5, 0.2 + 0.4 * torch.rand(5, 2))


def _hats(place, size):
    """The bilinear weight of each of ``size`` pixels at normalised places [batch, place]."""
    pixel = ((place + 1) * size - 1) / 2
    return (1 - (pixel[..., None] - torch.arange(size)).abs()).clamp(min=0)


def _places(size):
    return (2 * torch.arange(size) + 1) / size - 1


def test_a_glimpse_is_rows_times_image_times_columns(windows):
    image = torch.rand(5, 2, 20, 30)
    x, y = (windows.centre[:, [k]] + windows.half_side[:, [k]] * _places(12) for k in range(2))
    expected = torch.einsum("bry,bcyx,bsx->bcrs", _hats(y, 20), image, _hats(x, 30))
    torch.testing.assert_close(read_glimpse(image, windows, 12), expected, atol=1e-5, rtol=1e-4)


def test_painting_undoes_the_window(windows):
    patch = torch.rand(5, 1, 12, 12)
    x, y = (
        (_places(size) - windows.centre[:, [k]]) / windows.half_side[:, [k]]
        for k, size in enumerate((30, 20))
    )
    expected = torch.einsum("bry,bcyx,bsx->bcrs", _hats(y, 12), patch, _hats(x, 12))
    painted = paint_patch(patch, windows, (20, 30))
    torch.testing.assert_close(painted, expected, atol=1e-5, rtol=1e-4)


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


def test_taught_and_drawn_densities_agree(scene_spec, scene_model):
    torch.manual_seed(4)
    head = scene_model.guide.head
    images, state = torch.rand(6, 3, 64, 64), torch.randn(6, 32)
    encoded = scene_model.guide.encoder(images)
    seen = scene_model.guide.viewer.sample(encoded.features)
    observation = Observation(images, seen)
    look = head.look(encoded.map, torch.zeros_like(images), state)
    # All agree on where the glimpse is read.
    sure = 100.0 * torch.nn.functional.one_hot(look.search.mode(), 256)
    look = dataclasses.replace(look, search=dataclasses.replace(look.search, log_weight=sure))
    check_taught_as_drawn(head, observation, look)


def test_prefixes_add_one_patch_at_a_time(glimpse_model):
    images = torch.rand(3, 1, 50, 50)
    prefixes = glimpse_model.decoder.prefixes(glimpse_model.mode(images).latents)
    assert prefixes.shape == (3, 4, 1, 50, 50)
    assert prefixes[:, 0].abs().max() == 0
    painted = prefixes.diff(dim=1).flatten(2).amax(dim=2)
    assert (painted > 0).all()


def test_likelihood_of_a_hypothesis_is_that_of_its_rendered_scene(scene_model):
    torch.manual_seed(5)
    images = torch.rand(2, 3, 64, 64)
    unrolled = scene_model.mode(images)
    latents, view = unrolled.latents, vars(known_view(scene_model.spec))
    drawn = torch.zeros(2, 1, dtype=torch.int64)
    hypotheses = enumerate_swaps(1, 3)
    scores = scene_model.decoder.log_likelihood(images, unrolled, hypotheses, drawn)
    for k in range(3):
        yaw = torch.atan2(latents.rotation[:, :, k, 1, 0], latents.rotation[:, :, k, 0, 0])
        identity = torch.full((2, 1), k)
        scenes = upright_scenes(identity, latents.position[:, :, k], yaw, **view)
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
    if model.max_steps == 1:  # what later steps remember meets nothing but the initial zeros
        without -= {"guide.cell.weight_hh"}
    assert not without


def test_yaw_weights_get_no_noise_from_the_elbo(scene_model):
    torch.manual_seed(8)
    scene_model.zero_grad()
    images = torch.rand(4, 3, 64, 64)
    prior = count_log_prior(scene_model.spec.count, scene_model.max_steps)
    (-scene_model.elbo(images, prior).value.mean()).backward()
    bins = SMALL_SCENE.yaw_bins
    rows = scene_model.guide.head.tell[-1].weight.grad.reshape(3, 6 + 3 * bins, -1)
    logits, means = rows[:, 6::3], rows[:, 7::3]
    assert logits.abs().max() == 0
    assert means.abs().max() > 0


def test_only_its_own_term_moves_the_search(scene_model):
    stream = SceneStream(scene_model.spec, batch=4, seed=0).batch(0)
    scene_model.zero_grad()
    sleep = scene_model.sleep(stream.images, stream.scenes)
    (sleep.location + sleep.rotation + sleep.identity).sum().backward()
    point = scene_model.guide.head.search.point.weight
    assert point.grad is None
    scene_model.sleep(stream.images, stream.scenes).attention.sum().backward()
    assert point.grad.abs().max() > 0


@pytest.fixture(scope="module")
def crowd(scene_spec):
    """A model of scenes of 0 to 3 objects, and a batch of such scenes with every count."""
    objects = scene_spec.objects.model_copy(update={"count": (0.25, 0.25, 0.25, 0.25)})
    spec = scene_spec.model_copy(update={"objects": objects})
    torch.manual_seed(9)
    model = build_air(spec, SMALL_SCENE, load_assets(spec))
    batch = SceneStream(spec, batch=12, seed=0).batch(0)
    assert set(batch.scenes.count.tolist()) == {0, 1, 2, 3}
    return model, batch


def test_every_hypothesis_of_a_crowd_is_its_rendered_scene(crowd):
    model, batch = crowd
    images = batch.images[:2]
    unrolled = model.mode(images)
    latents, view = unrolled.latents, vars(known_view(model.spec))
    hypotheses, drawn = enumerate_swaps(3, 3), torch.tensor([[2, 0, 1], [1, 1, 0]])
    scores = model.decoder.log_likelihood(images, unrolled, hypotheses, drawn)
    step, row = torch.arange(3), torch.arange(2)[:, None]
    for h in torch.randperm(len(hypotheses))[:8].tolist():
        identity = torch.where(hypotheses[h] == 3, drawn, hypotheses[h])
        k = identity.clamp(min=0)
        rotation = latents.rotation[row, step, k]
        yaw = torch.atan2(rotation[..., 1, 0], rotation[..., 0, 0])
        scenes = upright_scenes(identity, latents.position[row, step, k], yaw, **view)
        image = model.decoder.image(scenes)[:, None]
        expected = gaussian_log_likelihood(images, image, model.decoder.noise_std)[:, 0]
        torch.testing.assert_close(scores[:, h], expected, rtol=1e-4, atol=1.0)


def test_the_mode_ends_where_no_object_is_left(crowd, monkeypatch):
    """All that is found is as if every step were taken, and so is the count, up to the doubt."""
    model, batch = crowd
    guide = model.guide
    torch.manual_seed(7)
    state = dict(guide.presence.state_dict())
    torch.nn.init.normal_(guide.presence.weight, std=3.0)
    torch.nn.init.constant_(guide.presence.bias, -3.0)
    with torch.no_grad():
        some = model.mode(batch.images)
        monkeypatch.setattr("air3d.models.guide.DOUBT", 0.0)
        every = model.mode(batch.images)
    guide.presence.load_state_dict(state)
    reached = every.presence_logits.sigmoid().cumprod(dim=1)
    taken, there = some.presence_logits.isfinite(), reached >= 0.01
    assert torch.equal(taken[:, 1:], there[:, :-1]) and 0 < there.sum() < there.numel()
    torch.testing.assert_close(some.presence_logits[taken], every.presence_logits[taken])
    torch.testing.assert_close(some.latents.position[there], every.latents.position[there])
    counts = [count_log_prob(found.presence_logits).exp() for found in (some, every)]
    torch.testing.assert_close(counts[0], counts[1], atol=0.01, rtol=0.0)


def test_a_crowd_is_taught_bounded_inferred_and_refined(crowd):
    model, batch = crowd
    assert torch.isfinite(model.sleep(batch.images, batch.scenes).value).all()
    elbo = model.elbo(batch.images, count_log_prior(model.spec.count, 3))
    assert torch.isfinite(elbo.value).all()
    before = infer(model, batch.images)
    after = infer(model, batch.images, effort=Effort(refine_steps=3))
    for one, two in zip(before, after, strict=True):
        assert one.count == two.count == len(two.objects)
        assert two.log_likelihood >= one.log_likelihood
        at_least = [sum(one.count_probability[i + 1 :]) for i in range(one.count)]
        assert [o.presence_probability for o in one.objects] == pytest.approx(at_least, abs=1e-5)


def test_a_lesson_wants_the_nearest_object_that_is_left(crowd):
    _, batch = crowd
    scenes = batch.scenes.near_to_far()[batch.scenes.count.argsort(descending=True)]
    torch.manual_seed(11)
    passed_over = 0
    for _ in range(20):
        taken = lesson(scenes)
        place = taken.scenes.position[:, :, None] == scenes.position[:, None]
        nearness = place.all(dim=3).float().argmax(dim=2)  # of each object in the lesson's order
        for row, count in enumerate(scenes.count.tolist()):
            order = nearness[row, :count].tolist()
            assert sorted(order) == list(range(count))
            wanted = [order[i] for i in taken.wanted[row, :count].tolist()]
            assert wanted == [min(order[step:]) for step in range(count)]
            passed_over += order != sorted(order)
    assert 0 < passed_over < 100


def test_absent_objects_teach_nothing(crowd):
    """What an absent object's row holds changes neither the objective nor an earlier step."""
    model, batch = crowd
    scenes = batch.scenes
    absent = scenes.identity == -1
    position = torch.where(absent[..., None], scenes.position + 0.3, scenes.position)
    turned = scenes.rotation @ yaw_rotation(torch.tensor(1.0))
    rotation = torch.where(absent[..., None, None], turned, scenes.rotation)
    other = dataclasses.replace(scenes, position=position, rotation=rotation)
    values = []
    for taught in (scenes, other):
        torch.manual_seed(10)  # what the guide has painted so far, it has drawn
        values.append(model.sleep(batch.images, taught).value)
    assert torch.equal(*values)


def test_refinement_works_where_gradients_are_off(crowd):
    model, batch = crowd
    with torch.no_grad():
        assert len(infer(model, batch.images[:2], effort=Effort(refine_steps=2))) == 2


def test_more_hypotheses_than_memory_are_refused(scene_model):
    images = torch.rand(1, 3, 64, 64).expand(10_000, -1, -1, -1)
    with pytest.raises(ValueError, match="4 hypotheses each are too many"):
        scene_model.elbo(images, count_log_prior(scene_model.spec.count, 1))


def test_sizes_must_fit_the_scene_file(scene_spec):
    with pytest.raises(TypeError, match="does not fit a scene file"):
        build_air(scene_spec, GlimpseConfig())


@pytest.mark.parametrize(
    ("name", "size", "wanted"),
    [
        ("features", 0, "at least 1, got 0"),
        ("glimpse_size", -8, "at least 1, got -8"),
        ("channels", (8, 0, 8), "at least 1, got 8 0 8"),
        ("closer_channels", (), "at least 1, got nothing"),
        ("yaw_bins", 3, "at least 4, got 3"),
        ("rotation_bins", 15, "at least 16, got 15"),
        ("channels", (8,), "halve images of 64 x 64 pixels .* more than 1"),
        ("remains", (8,), "halve images of 64 x 64 pixels .* more than 1"),
    ],
)
def test_sizes_that_make_no_network_are_refused(scene_spec, name, size, wanted):
    with pytest.raises(ValueError, match=f"^--network.{name.replace('_', '-')}: must .*{wanted}"):
        build_air(scene_spec, SceneConfig(**{name: size}), load_assets(scene_spec))


def test_the_least_sizes_make_a_network(scene_spec):
    one = {field.name: 1 for field in dataclasses.fields(SceneConfig) if field.type is int}
    few = {"channels": (1, 1), "remains": (1, 1), "glimpse_channels": (1,), "closer_channels": (1,)}
    config = SceneConfig(**one | few | {"yaw_bins": 4, "rotation_bins": 16})
    model = build_air(scene_spec, config, load_assets(scene_spec))
    assert len(infer(model, torch.rand(2, 3, 64, 64))) == 2


def test_a_model_must_be_able_to_count_as_far_as_its_scene():
    spec = load_scene(ROOT / "scenes/multi_mnist.yaml")
    with pytest.raises(ValueError, match="cannot count to 2"):
        build_air(spec, GlimpseConfig(max_steps=1))


@pytest.fixture(scope="module")
def laid_table():
    """A model of laid tables, whose camera, light, sizes and colours are open, and a batch."""
    spec = load_scene(ROOT / "scenes/tabletop.yaml")
    torch.manual_seed(10)
    model = build_air(spec, SMALL_SCENE, load_assets(spec))
    return model, SceneStream(spec, batch=8, seed=0).batch(0)


def test_a_laid_table_trains_every_weight(laid_table):
    model, batch = laid_table
    model.zero_grad()
    sleep = model.sleep(batch.images, batch.scenes)
    assert torch.isfinite(sleep.value).all()
    parts = (sleep.count, sleep.identity, sleep.location, sleep.rotation, sleep.appearance)
    torch.testing.assert_close(sleep.value, sum(parts) + sleep.view + sleep.attention)
    (-sleep.value.mean()).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_a_laid_table_is_inferred_with_its_view_and_refined(laid_table):
    model, batch = laid_table
    before = infer(model, batch.images[:2])
    after = infer(model, batch.images[:2], effort=Effort(refine_steps=2))
    view, ranges = ViewPrior(model.spec), model.spec.objects
    for one, two in zip(before, after, strict=True):
        assert two.log_likelihood >= one.log_likelihood
        assert (
            one.camera is not None and one.light is not None and one.camera.image_size == (64, 64)
        )
        assert torch.isfinite(view.coordinates(View(one.camera, one.light))).all()
        for found in one.objects:
            assert ranges.scale.low <= found.scale <= ranges.scale.high
            assert (
                (found.colour >= ranges.colour.low) & (found.colour <= ranges.colour.high)
            ).all()


def test_views_drawn_and_told_have_the_same_density(laid_table):
    """The KL of a drawn view is the density that teaching gives it, minus the prior."""
    model, _ = laid_table
    viewer, features = model.guide.viewer, torch.randn(6, 32)
    torch.manual_seed(11)
    drawn = viewer.sample(features)
    log_q = viewer.teach(features, drawn.view) - viewer.half_width.log().sum()
    prior = viewer.prior.log_prob(viewer._in_range(drawn.coordinates))
    torch.testing.assert_close(drawn.kl, log_q - prior, atol=1e-3, rtol=1e-4)


def test_a_view_without_full_circles_teaches_by_its_own_gradient():
    prior = ViewPrior(load_scene(ROOT / "scenes/single_object_so3.yaml"))
    assert [unknown.circular for unknown in prior.unknowns] == [False]
    torch.manual_seed(0)
    viewer = ViewHead(prior, 5, 8).double()
    view = prior.view(prior.sample(4, torch.Generator().manual_seed(1)).double())
    features = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda features: viewer.teach(features, view), (features,))


def test_the_density_of_a_search_is_one(laid_table):
    model, batch = laid_table
    head, encoded = model.guide.head, model.guide.encoder(batch.images)
    with torch.no_grad():
        mixture, evidence = head.search(encoded.map, batch.images, torch.randn(8, 32))
        axis = (torch.arange(300) + 0.5) / 100 - 1.5
        grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)
        one = mixture[torch.zeros(len(grid), dtype=torch.int64)]
        mass = one.joint_log_prob(grid).exp().sum() / 100**2
    assert mass.item() == pytest.approx(1.0, abs=0.02)
    assert evidence.shape == (8, head.num_evidence)


def test_painting_object_by_object_leaves_the_noise(laid_table):
    """What is left is the image less the scene of the objects so far; in the end, only noise."""
    model, batch = laid_table
    decoder, scenes = model.scene_decoder, batch.scenes
    canvas = decoder.blank(batch.images, View(scenes.camera, scenes.light))
    every = torch.arange(len(scenes))
    for count in range(scenes.identity.shape[1] + 1):
        slot = torch.arange(count).expand(len(scenes), -1)
        expected = batch.images - decoder.image(scenes.pick(slot))
        torch.testing.assert_close(canvas.left_over(every), expected, atol=1e-5, rtol=0.0)
        if count < scenes.identity.shape[1]:
            slot = torch.full((len(scenes), 1), count)
            canvas.add(decoder.layers(scenes.pick(slot)), every)
    left_over = canvas.left_over(every)
    assert left_over.std().item() == pytest.approx(decoder.noise_std, rel=0.03)


@pytest.mark.parametrize("looks", [1, 3, 7])
def test_painting_in_turn_leaves_the_same(laid_table, looks):
    model, batch = laid_table
    decoder, scenes = model.scene_decoder, batch.scenes.near_to_far()
    assert scenes.identity.shape[1] == 6 and scenes.count.min() < scenes.count.max()
    left_over = decoder.left_beside(batch.images, scenes, looks)
    assert len(left_over) == sum((scenes.count >= n).sum() for n in range(looks))
    number, row = (torch.arange(looks)[:, None] <= scenes.count).nonzero(as_tuple=True)
    for left, n, image in zip(left_over, number, row, strict=True):
        first = scenes[image[None]].pick(torch.arange(n)[None])
        expected = batch.images[image] - decoder.image(first)[0]
        torch.testing.assert_close(left, expected, atol=1e-5, rtol=0.0)


def test_kept_pictures_show_the_first_objects_alone(laid_table):
    """A mode may end before its last step: then what was painted after it does not show."""
    model, batch = laid_table
    decoder, scenes = model.scene_decoder, batch.scenes
    canvas = decoder.blank(batch.images, View(scenes.camera, scenes.light))
    every = torch.arange(len(scenes))
    for step in range(3):
        canvas.keep(every[step::2])
        slot = torch.full((len(scenes), 1), step)
        canvas.add(decoder.layers(scenes.pick(slot)), every)
    count = torch.tensor([0, 3, 2, 1, 3, 1, 0, 3])
    slot = torch.arange(3).expand(len(scenes), 3)
    expected = decoder.image(scenes.pick(slot.where(slot < count[:, None], ABSENT)))
    torch.testing.assert_close(canvas.shown_with(count), expected, atol=1e-5, rtol=0.0)
    with pytest.raises(ValueError, match=r"images \[1\] have no picture"):
        canvas.shown_with(torch.tensor([0, 0, 2, 1, 3, 1, 0, 3]))


def test_a_mode_is_shown_as_it_is_rendered(laid_table):
    """Whatever a guide says, of counts that are nearly as probable too."""
    model, batch = laid_table
    bias = model.guide.presence.bias
    before = bias.detach().clone()
    for logit in (-1.0, 0.0, 0.7, 2.0):
        with torch.no_grad():
            bias.copy_(torch.tensor([logit]))
            unrolled = model.mode(batch.images)
            scenes = mode_of(unrolled).scenes
            shown = unrolled.canvas.shown_with(scenes.count)
            expected = model.scene_decoder.image(scenes)
            bias.copy_(before)
        torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0.0)


def test_a_step_sees_what_the_steps_before_left(laid_table):
    """The guide paints what it takes objects for, and the next look goes by what that leaves."""
    model, batch = laid_table
    head = model.guide.head
    looked = []
    search = head.search.forward
    head.search.forward = lambda *seen: looked.append(seen[1]) or search(*seen)
    try:
        with torch.no_grad():
            unrolled = model.guide.sample(batch.images)
    finally:
        del head.search.forward
    scenes = mode_of(unrolled).scenes
    every = dataclasses.replace(scenes, identity=unrolled.latents.identity_log_prob.argmax(dim=-1))
    for step, left_over in enumerate(looked):
        before = every.pick(torch.arange(step).expand(len(scenes), -1))
        expected = batch.images - model.scene_decoder.image(before)
        torch.testing.assert_close(left_over, expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("count", [0, 6])
def test_a_single_scene_teaches_the_guide_also_when_empty(laid_table, count):
    model, batch = laid_table
    row = (batch.scenes.count == count).nonzero()[:1, 0]
    assert len(row) == 1, "the batch has none"
    sleep = model.sleep(batch.images[row], batch.scenes[row])
    assert sleep.value.isfinite().all()
    assert (sleep.identity == 0).all() == (count == 0)


def test_appearances_come_back_from_their_numbers(laid_table):
    model, batch = laid_table
    appearance, scenes = model.guide.head.appearance, batch.scenes
    unit = appearance.to_unit(scenes.scale, scenes.colour)
    assert appearance.size == 4 and unit.abs().max() <= 1 + 1e-5
    scale, colour = appearance.from_unit(unit)
    torch.testing.assert_close(scale, scenes.scale)
    torch.testing.assert_close(colour, scenes.colour)


def test_convolutions_in_bfloat16_say_nearly_the_same_in_float32():
    spec = load_scene(ROOT / "scenes/single_object.yaml")
    torch.manual_seed(0)
    model = build_air(spec, SMALL_SCENE, load_assets(spec))
    batch = SceneStream(spec, batch=32, seed=0).batch(0)

    def answer(dtype):
        compute_convolutions_in(dtype, model)
        model.zero_grad()
        torch.manual_seed(1)
        value = model.sleep(batch.images, batch.scenes).value
        value.mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return value.detach(), gradient

    exact, exact_gradient = answer(torch.float32)
    rough, rough_gradient = answer(torch.bfloat16)
    assert rough.dtype == rough_gradient.dtype == torch.float32
    assert 1e-4 < (rough - exact).abs().mean() / exact.abs().mean() < 0.02
    alike = torch.nn.functional.cosine_similarity(rough_gradient, exact_gradient, dim=0)
    assert alike > 0.99
    again, _ = answer(torch.float32)
    assert torch.equal(again, exact)
