"""Layers of textured meshes: texels where they belong, exact gradients, parity of the backends."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from render_cases import SOFT, Scene, one_thread, random_scene  # noqa: F401
from test_render import WIDE, finite, random_loss, tiny_scene, with_input, worst

from air3d.geometry import Camera
from air3d.render import (
    Instances,
    ambient_light,
    composite,
    prefix_selection,
    render,
    render_layers,
)
from air3d.render.blend import softmax_alpha_blend
from air3d.render.layers import blur_radius
from air3d.render.rasterize import rasterize
from air3d.render.shade import texels
from air3d.render.surfaces import pack_instances, project_faces
from air3d.scene import ABSENT, Mesh, MeshBank

BACKENDS = ("reference", "cpu")
AMBIENT = ambient_light().to(dtype=torch.float64)
pytestmark = pytest.mark.usefixtures("one_thread")


def paint(bank: MeshBank, sizes: list[tuple[int, int]]) -> MeshBank:
    """Give the meshes random textures of these sizes; (0, 0) leaves one without.

    Some vertices lie beyond the texture's edges.
    """
    generator = torch.Generator().manual_seed(3)

    def painted(mesh: Mesh, size: tuple[int, int]) -> Mesh:
        uvs = 1.4 * torch.rand(len(mesh.vertices), 2, generator=generator) - 0.2
        texture = torch.rand(*size, 3, generator=generator)
        return replace(mesh, uvs=uvs, texture=texture) if texture.numel() else mesh

    pairs = zip(bank.meshes, sizes, strict=True)
    return MeshBank.pack([painted(mesh, size) for mesh, size in pairs])


def painted_scene(seed: int, batch: int, image_size: tuple[int, int]) -> Scene:
    """Return random scenes of which each holds a mesh without and two with a texture."""
    scene = random_scene(seed, batch, 3, image_size)
    scene = replace(scene, bank=paint(scene.bank, [(0, 0), (5, 9), (8, 3)])).to(torch.float64)
    scene.identity[:] = torch.tensor([1, 0, 2])
    return scene


def quad(texture: torch.Tensor) -> tuple[MeshBank, Camera]:
    """Return a square and a camera whose outermost pixels' centres lie on the square's edges."""
    side = len(texture)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    # The camera looks along z, and y points down on the image.
    vertices = torch.cat([(corners - 0.5) * torch.tensor([1.0, -1.0]), torch.zeros(4, 1)], dim=1)
    faces, white = torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.ones(4, 3)
    square = Mesh(
        "square", vertices, faces, white, white, 1, 1.0, Path("square"), corners, texture.float()
    )
    focal = 2.0 * (side - 1)
    intrinsics = torch.tensor([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    world_to_camera = torch.eye(4)
    world_to_camera[2, 3] = 2.0
    return MeshBank.pack([square]).to(dtype=torch.float64), Camera(
        world_to_camera[None], intrinsics[None], (side, side)
    ).to(dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
def test_texels_show_where_they_lie(backend):
    """A square whose texels fall on pixel centres shows its texture, row by row, as it is."""
    texture = torch.rand(12, 12, 3, generator=torch.Generator().manual_seed(0)).double()
    bank, before = quad(texture)
    pose = torch.eye(4, dtype=torch.float64)[None, None]
    layers = render_layers(
        bank,
        Instances(torch.zeros(1, 1, dtype=torch.int64), pose),
        before,
        light=AMBIENT,
        softness=SOFT,
        backend=backend,
    )
    torch.testing.assert_close(layers.colour[0, 0], texture.float().double(), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["textures", "uvs", "poses", "vertices", "colours", "intrinsics"])
def test_gradients_are_those_of_finite_differences(backend, name):
    scene = tiny_scene()
    scene = replace(scene, bank=paint(scene.bank, [(4, 3)])).to(torch.float64)

    def outputs(value):
        layers = with_input(scene, name, value).layers(backend, WIDE)
        return layers.colour, finite(layers.log_weight), layers.log_transmittance

    value = scene.inputs[name].detach().requires_grad_()
    assert torch.autograd.gradcheck(outputs, value, eps=1e-7, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_texture_of_one_colour_is_a_colour(backend):
    """It multiplies what the mesh shows without it, light and all."""
    scene = random_scene(2, batch=2, objects=2, image_size=(24, 24))
    plain = scene.layers(backend)
    shade = torch.tensor([0.9, 0.5, 0.2], dtype=torch.float64)
    bank = paint(scene.bank, [(3, 3), (1, 1), (2, 5)]).to(dtype=torch.float64)
    bank = replace(bank, textures=torch.ones_like(bank.textures) * shade)
    painted = replace(scene, bank=bank).layers(backend)
    torch.testing.assert_close(painted.colour, plain.colour * shade, rtol=0.0, atol=1e-12)
    assert torch.equal(painted.log_weight, plain.log_weight)


@pytest.mark.parametrize("image_size", [(24, 32), (80, 12)], ids=["wide", "two bands"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_cpu_agrees_with_the_float64_reference(image_size, dtype, tolerance):
    """Values and gradients of all inputs, of meshes with and without a texture, and of none."""
    truth = painted_scene(6, batch=2, image_size=image_size)
    truth.identity[1, 0] = ABSENT

    def evaluate(scene: Scene, backend: str):
        layers = scene.layers(backend, with_depth=dtype == torch.float64)
        images = composite(layers, prefix_selection(3), scene.background, backend=backend)
        parts = [part for part in (images.rgb, images.depth) if part is not None]
        loss = random_loss(layers.colour, *parts)
        return images.rgb, torch.autograd.grad(loss, list(scene.inputs.values()))

    image, gradients = evaluate(truth.to(dtype), "cpu")
    true_image, true_gradients = evaluate(truth, "reference")
    assert worst(image, true_image) < tolerance
    for name, value, true_value in zip(truth.inputs, gradients, true_gradients, strict=True):
        assert worst(value, true_value) < tolerance, name
        assert float(true_value.abs().max()) > 0.0, name


def test_results_do_not_depend_on_threads():
    """The same bits, the sums over instances and bands among them."""
    scene = painted_scene(1, batch=6, image_size=(160, 16)).to(torch.float32)
    results = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)  # one_thread puts it back
        layers = scene.layers("cpu")
        names = ("textures", "uvs", "vertices", "poses")
        inputs = [scene.inputs[name] for name in names]
        results.append((layers.colour, *torch.autograd.grad(random_loss(layers.colour), inputs)))
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def test_a_mesh_without_texture_is_the_same_beside_painted_ones():
    scene = random_scene(3, batch=2, objects=2, image_size=(24, 24))
    bank = paint(scene.bank, [(0, 0), (5, 9), (0, 0)]).to(dtype=torch.float64)
    painted = replace(scene, bank=bank)
    scene.identity[:] = torch.tensor([0, 2])
    layers, plain = painted.layers("cpu"), scene.layers("cpu")
    for name in ("colour", "log_weight", "log_transmittance"):
        truth = getattr(plain, name)
        torch.testing.assert_close(getattr(layers, name), truth, rtol=1e-12, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    uvs=st.lists(
        st.one_of(st.floats(-2.0, 2.0, width=32), st.floats(width=32)), min_size=8, max_size=8
    )
)
def test_any_coordinates_show_what_the_texture_holds(uvs):
    """Whatever they are, NaN too: colours between the texture's, and finite ones' gradients."""
    scene = tiny_scene().to(torch.float32)
    bank = paint(scene.bank, [(3, 4)])
    bank = replace(bank, uvs=torch.tensor(uvs).reshape(1, 4, 2), colours=torch.ones(1, 4, 3))
    scene = replace(scene, bank=bank, light=ambient_light(), tint=torch.ones(1, 3, 3)).to(
        torch.float32
    )
    colour = scene.layers("cpu").colour
    assert colour.min() >= 0.0 and colour.max() <= bank.textures.max() + 1e-5
    if bank.uvs.isfinite().all():
        inputs = [scene.inputs[name] for name in ("textures", "uvs", "poses", "vertices")]
        for gradient in torch.autograd.grad(colour.sum(), inputs):
            assert gradient.isfinite().all()


def test_the_texture_pulls_at_the_pose():
    """Where colours and silhouette say nothing of a turn, the texture alone does."""
    scene = painted_scene(0, batch=1, image_size=(32, 32))
    scene.identity[:] = torch.tensor([1, -1, -1])  # a sphere of one colour

    def pull(scene: Scene) -> torch.Tensor:
        weights = torch.randn(32, 32, 3, generator=torch.Generator().manual_seed(1)).double()
        loss = (scene.layers("cpu").colour[0, 0] * weights).sum()
        return torch.autograd.grad(loss, scene.poses)[0][0, 0, :3, :3]

    grey = replace(scene.bank, textures=torch.full_like(scene.bank.textures, 0.5))
    with_texture, without = pull(scene), pull(replace(scene, bank=grey))
    assert with_texture.abs().max() > 10 * without.abs().max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_fragments_show_the_same(backend):
    """The other path, with as many fragments as there can be, paints the same picture."""
    scene = replace(painted_scene(4, batch=1, image_size=(24, 32)), light=AMBIENT)
    fused = render(
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
    blended = softmax_alpha_blend(
        texels(fragments, surfaces), fragments, softness=SOFT, background=scene.background
    )[..., :3]
    torch.testing.assert_close(fused, blended, rtol=0.0, atol=1e-9)
    names = ("textures", "uvs", "colours", "vertices", "scale", "tint")
    inputs = [scene.inputs[name] for name in names]
    gradients = [torch.autograd.grad(random_loss(image), inputs) for image in (fused, blended)]
    for name, value, true_value in zip(names, *gradients, strict=True):
        assert worst(value, true_value) < 1e-9, name
