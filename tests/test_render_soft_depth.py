"""Soft depth: what the fragments' depths say, with exact gradients, at no cost to the rest."""

from dataclasses import replace

import pytest
import torch
from render_cases import SOFT, one_thread, random_scene  # noqa: F401 (a fixture)
from test_render import WIDE, finite, random_loss, tiny_scene, with_input, worst

from air3d.render import (
    composite,
    ground_layer,
    join,
    pack_instances,
    plain_ground,
    prefix_selection,
    project_faces,
    rasterize,
    render,
    render_depth,
    render_with_depth,
    softmax_alpha_blend,
)
from air3d.render.layers import blur_radius
from air3d.scene import ABSENT

BACKENDS = ("reference", "cpu")
SHARP = SOFT.model_copy(update={"sigma": 1e-6, "gamma": 1e-5})
GEOMETRY = ("poses", "vertices", "world_to_camera", "intrinsics", "scale")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GEOMETRY)
def test_gradients_are_those_of_finite_differences(backend, name):
    scene = tiny_scene()

    def outputs(value):
        layers = with_input(scene, name, value).layers(backend, WIDE, with_depth=True)
        images = composite(layers, torch.tensor([[0, 1, 2]]), scene.background, backend=backend)
        return layers.depth, finite(layers.log_weight), layers.colour, images.depth

    value = scene.inputs[name].detach().requires_grad_()
    assert torch.autograd.gradcheck(outputs, value, eps=1e-7, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_cpu_agrees_with_the_float64_reference(seed, dtype, tolerance):
    """Values and gradients of layers and of their merger, more rows than a band has."""
    truth = random_scene(seed, batch=1, objects=3, image_size=(72, 20))
    truth.identity[0, 1] = ABSENT

    def evaluate(scene, backend):
        layers = scene.layers(backend, with_depth=True)
        images = composite(layers, prefix_selection(3), scene.background, backend=backend)
        inputs = [scene.inputs[name] for name in GEOMETRY]
        loss = random_loss(layers.depth, images.depth, images.rgb)
        return (layers.depth, images.depth), torch.autograd.grad(loss, inputs)

    depths, gradients = evaluate(truth.to(dtype), "cpu")
    true_depths, true_gradients = evaluate(truth, "reference")
    values, true_values = (*depths, *gradients), (*true_depths, *true_gradients)
    for value, true_value in zip(values, true_values, strict=True):
        assert worst(value, true_value) < tolerance
        assert true_value.abs().max() > 0.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_merged_depth_is_that_of_the_scenes_fragments(backend):
    """The other path, all of whose fragments are kept, averages depths as it does colours."""
    scene = random_scene(4, batch=1, objects=3, image_size=(24, 32))
    images = render_with_depth(
        scene.bank,
        scene.instances,
        scene.camera,
        light=scene.light,
        softness=SOFT,
        background=scene.background,
        backend=backend,
    )
    surfaces = pack_instances(scene.bank, scene.instances)
    fragments = rasterize(
        project_faces(surfaces, scene.camera),
        surfaces.first_face,
        surfaces.num_faces,
        image_size=scene.camera.image_size,
        blur_radius=blur_radius(SOFT.sigma),
        faces_per_pixel=64,
    )
    black = torch.zeros(3, dtype=torch.float64)
    zbuf = fragments.zbuf[..., None].expand(*fragments.zbuf.shape, 3)
    blended = softmax_alpha_blend(zbuf, fragments, softness=SOFT, background=black)
    times_alpha = images.depth * images.alpha
    torch.testing.assert_close(images.alpha, blended[..., 3], rtol=0.0, atol=1e-9)
    torch.testing.assert_close(times_alpha, blended[..., 0], rtol=0.0, atol=1e-9)
    inputs = [scene.inputs[name] for name in ("vertices", "scale", "intrinsics")]
    gradients = torch.autograd.grad(random_loss(times_alpha), inputs)
    true_gradients = torch.autograd.grad(random_loss(blended[..., 0]), inputs)
    for value, true_value in zip(gradients, true_gradients, strict=True):
        assert worst(value, true_value) < 1e-9


@pytest.mark.parametrize("backend", BACKENDS)
def test_depth_changes_nothing_else(backend):
    scene = random_scene(5, batch=2, objects=2, image_size=(24, 24))
    with_depth, without = (scene.layers(backend, with_depth=deep) for deep in (True, False))
    assert without.depth is None
    for name in ("colour", "log_weight", "log_transmittance"):
        value, truth = getattr(with_depth, name), getattr(without, name)
        torch.testing.assert_close(value, truth, rtol=1e-14, atol=1e-14)
    everything = {"light": scene.light, "softness": SOFT, "background": scene.background}
    scenes = (scene.bank, scene.instances, scene.camera)
    image = render(*scenes, **everything, backend=backend)
    whole = render_with_depth(*scenes, **everything, backend=backend)
    torch.testing.assert_close(whole.rgb, image, rtol=0.0, atol=1e-14)
    assert whole.depth.shape == whole.alpha.shape == image.shape[:3]


def test_within_the_outline_depth_is_crisp():
    """Up to a blur of 3 mm about the edges, and of less behind the nearest face."""
    scene = random_scene(6, batch=2, objects=1, image_size=(96, 96))
    soft = scene.layers("cpu", SHARP, with_depth=True).depth[:, 0]
    crisp = render_depth(scene.bank, scene.instances, scene.camera)[:, 0]
    inside = crisp.isfinite()
    assert inside.sum() > 200
    assert (soft - crisp)[inside].abs().quantile(0.95) < 6e-3


def test_objects_keep_their_depth_beside_the_ground():
    scene = random_scene(7, batch=1, objects=2, image_size=(24, 24))
    ground = plain_ground((0.5, 0.5, 0.5), height=-2.0).to(dtype=torch.float64)
    plane = ground_layer(ground, scene.camera, scene.light, SHARP)
    layers = join([scene.layers("cpu", SHARP, with_depth=True), plane])
    images = composite(layers, torch.tensor([[0, 1, -1], [0, 1, 2]]), scene.background)
    covered = layers.log_transmittance[0, :2].sum(dim=0) < -20.0
    alone, together = images.depth[0]
    assert covered.any() and not covered.all()
    torch.testing.assert_close(together[covered], alone[covered])
    assert (together[~covered] >= alone[~covered] - 1e-9).all() and (together > 0.0).all()


def test_nothing_has_no_depth_and_gives_no_gradient():
    scene = tiny_scene()
    scene = replace(scene, identity=torch.full_like(scene.identity, ABSENT))
    depth = scene.layers("cpu", with_depth=True).depth
    assert not depth.any()
    (gradient,) = torch.autograd.grad(depth.sum(), scene.poses)
    assert not gradient.any()
