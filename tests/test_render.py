"""The renderer: its two backends agree, its gradients are right, its edge cases are empty."""

import io
import subprocess
import sys
from dataclasses import replace
from multiprocessing import get_all_start_methods, get_context

import numpy as np
import pytest
import torch
from conftest import ROOT
from render_cases import (
    LIGHT,
    SOFT,
    Scene,
    camera,
    one_thread,  # noqa: F401 (a fixture)
    random_scene,
    tetrahedron,
)

from air3d.geometry import rigid_transform, yaw_rotation
from air3d.render import (
    Composite,
    Instances,
    Layers,
    composite,
    cpu,
    ground_view,
    instances,
    point_light,
    prefix_selection,
    reference,
    reference_fragments,
    reference_ground,
    render,
    render_depth,
)
from air3d.render.cpu import (
    composite_kernels,
    depth_kernels,
    fragment_kernels,
    ground_kernels,
    layer_kernels,
    vertex_kernels,
    visibility_kernels,
)
from air3d.render.instances import place
from air3d.scene import ABSENT, MeshBank
from air3d.scene.spec import RenderSpec

BACKENDS = ("reference", "cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
LAMP = point_light((0.6, -0.8, 0.7), ambient=(0.3, 0.4, 0.5), diffuse=(0.7, 0.5, 0.6))
WIDE = RenderSpec(sigma=1e-3, gamma=1e-2, near=1.0, far=10.0)


def tiny_scene() -> Scene:
    """Two overlapping tetrahedra and a missing third, 12x16 pixels, float64."""
    turn = yaw_rotation(torch.tensor([0.4, 2.0, 0.0]))
    where = torch.tensor([[-0.15, 0.05, 0.1], [0.2, -0.3, 0.15], [0.0, 0.0, 0.0]])
    return Scene(
        bank=MeshBank.pack([tetrahedron()]),
        identity=torch.tensor([[0, 0, ABSENT]]),
        poses=rigid_transform(turn, where)[None],
        camera=camera((12, 16), field_of_view=0.5),
        background=torch.tensor([0.1, 0.2, 0.3]),
        scale=torch.tensor([[0.9, 1.1, 1.0]]),
        tint=torch.tensor([[[0.9, 0.8, 0.7], [0.6, 0.7, 0.9], [1.0, 1.0, 1.0]]]),
    ).to(torch.float64)


def with_input(scene: Scene, name: str, value: torch.Tensor) -> Scene:
    """Return the scene with one of its inputs replaced."""
    if name in ("vertices", "colours", "normals", "textures", "uvs"):
        return replace(scene, bank=replace(scene.bank, **{name: value}))
    if name in ("world_to_camera", "intrinsics"):
        return replace(scene, camera=replace(scene.camera, **{name: value}))
    if name in ("source", "ambient", "diffuse"):
        return replace(scene, light=replace(scene.light, **{name: value}))
    return replace(scene, **{name: value})


def finite(tensor: torch.Tensor) -> torch.Tensor:
    """Put 0 where a log-weight says that there is nothing."""
    return torch.where(tensor.isfinite(), tensor, 0.0)


def random_loss(*parts: torch.Tensor) -> torch.Tensor:
    """Weigh every value by a random number, the same in every precision."""
    generator = torch.Generator().manual_seed(5)
    weights = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parts]
    return sum((part * weight.to(part)).sum() for part, weight in zip(parts, weights, strict=True))


def worst(value: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the largest error, relative to the largest true value."""
    error = (value.detach().double() - truth.detach()).abs().max()
    return float(error / truth.detach().abs().max().clamp(min=1e-12))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lamp", [LIGHT, LAMP], ids=["far", "near"])
@pytest.mark.parametrize("name", tiny_scene().inputs)
def test_gradients_are_those_of_finite_differences(backend, lamp, name):
    scene = replace(tiny_scene(), light=lamp.to(dtype=torch.float64))

    def outputs(value):
        inputs = with_input(scene, name, value)
        layers = inputs.layers(backend, WIDE)
        selection = torch.tensor([[0, 1, 2], [1, -1, -1]])
        images = composite(layers, selection, inputs.background, backend=backend)
        log_weight = finite(layers.log_weight)
        return layers.colour, log_weight, layers.log_transmittance, images.rgb, images.alpha

    value = scene.inputs[name].detach().requires_grad_()
    assert torch.autograd.gradcheck(outputs, value, eps=1e-7, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_cpu_agrees_with_the_float64_reference(seed, dtype, tolerance):
    """Values and gradients, on objects turned at random, partly outside the image, or absent.

    float32 has 1e-7 of a depth, hence about 1e-4 of a weight at this gamma; so has the reference.
    """
    truth = random_scene(seed, batch=2, objects=3, image_size=(32, 24))
    truth.identity[0, 1] = ABSENT
    selection = torch.tensor([[-1, -1, -1], [0, -1, -1], [2, 1, 0], [1, 2, -1]])

    def evaluate(scene: Scene, backend: str):
        images = scene.images(backend, selection)
        gradients = torch.autograd.grad(
            random_loss(images.rgb, images.alpha), list(scene.inputs.values())
        )
        return (images.rgb, images.alpha), gradients

    images, gradients = evaluate(truth.to(dtype), "cpu")
    true_images, true_gradients = evaluate(truth, "reference")
    assert true_images[1].amax() > 0.99
    for value, true_value in zip(images, true_images, strict=True):
        assert worst(value, true_value) < tolerance
    for name, value, true_value in zip(truth.inputs, gradients, true_gradients, strict=True):
        assert worst(value, true_value) < tolerance, name
        assert float(true_value.abs().max()) > 0.0, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_layers_merge_into_the_joint_rendering(backend):
    """Compositing layers gives what rasterising all of their faces together gives."""
    scene = random_scene(7, batch=1, objects=3, image_size=(24, 24))
    scene = replace(scene, scale=torch.ones_like(scene.scale), tint=torch.ones_like(scene.tint))
    apart = scene.images(backend, torch.tensor([[0, 1, 2]]))
    meshes = [scene.bank.meshes[i] for i in scene.identity[0]]
    joint = replace(scene, bank=one_mesh(meshes, scene.poses[0].detach()))
    one = torch.ones(1, 1, dtype=torch.float64)
    joint = replace(joint, identity=torch.tensor([[0]]), poses=torch.eye(4).double()[None, None])
    joint = replace(joint, scale=one, tint=one[..., None].expand(1, 1, 3))
    together = joint.images(backend, torch.tensor([[0]]))
    torch.testing.assert_close(apart.rgb, together.rgb, rtol=0.0, atol=1e-9)
    torch.testing.assert_close(apart.alpha, together.alpha, rtol=0.0, atol=1e-9)


def one_mesh(meshes, poses) -> MeshBank:
    """Put meshes where their poses say and make one of them."""
    offsets, vertices, normals = [0], [], []
    for mesh, pose in zip(meshes, poses, strict=True):
        vertices.append(mesh.vertices.double() @ pose[:3, :3].T + pose[:3, 3])
        normals.append(mesh.normals.double() @ pose[:3, :3].T)
        offsets.append(offsets[-1] + len(mesh.vertices))
    faces = torch.cat([mesh.faces + o for mesh, o in zip(meshes, offsets[:-1], strict=True)])
    colours = torch.cat([mesh.colours for mesh in meshes]).double()
    bank = MeshBank.pack(meshes[:1])
    return replace(
        bank,
        vertices=torch.cat(vertices)[None],
        normals=torch.cat(normals)[None],
        colours=colours[None],
        uvs=torch.zeros(1, offsets[-1], 2, dtype=torch.float64),
        faces=faces[None],
        num_vertices=torch.tensor([offsets[-1]]),
        num_faces=torch.tensor([len(faces)]),
    )


def test_prefixes_are_the_scenes_of_the_first_objects():
    scene = random_scene(3, batch=2, objects=3, image_size=(24, 32))
    prefixes = scene.images("cpu", prefix_selection(3)).rgb
    for count in range(4):
        identity = scene.identity.clone()
        identity[:, count:] = ABSENT
        image = render(
            scene.bank,
            replace(scene.instances, identity=identity),
            scene.camera,
            light=scene.light,
            softness=SOFT,
            background=scene.background,
        )
        torch.testing.assert_close(prefixes[:, count], image, rtol=0.0, atol=1e-12)


def test_prefix_selection():
    assert prefix_selection(2).tolist() == [[-1, -1], [0, -1], [0, 1]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", ["absent", "behind", "outside", "on the camera"])
def test_what_is_not_seen_is_background_without_gradient(backend, case):
    """An empty layer, exactly; never NaN, whatever the pose of an absent object holds."""
    scene = tiny_scene()
    poses = scene.poses.detach().clone()
    identity = torch.zeros_like(scene.identity)
    if case == "absent":
        identity[:] = ABSENT
        poses[:, 0] = torch.nan
    elif case == "behind":
        poses[..., :3, 3] = torch.tensor([0.0, -6.0, 4.2])
    elif case == "outside":
        poses[..., 0, 3] = 40.0
    else:
        poses[..., :3, 3] = torch.tensor([0.0, -2.6, 1.9])
    scene = replace(scene, identity=identity, poses=poses.requires_grad_())
    images = scene.images(backend, torch.tensor([[0, 1, 2]]))
    if case != "on the camera":
        assert torch.equal(images.rgb, scene.background.detach().expand_as(images.rgb))
        assert not images.alpha.any()
    inputs = {name: value for name, value in scene.inputs.items() if name != "background"}
    gradients = torch.autograd.grad(images.rgb.sum(), list(inputs.values()))
    for name, gradient in zip(inputs, gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert case == "on the camera" or not gradient.any(), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0, 0)])
def test_scenes_without_objects_are_background(backend, threads, shape):
    """A batch may hold no objects, or be empty itself; its gradients are empty or zero."""
    scene = tiny_scene()
    poses = torch.eye(4).double().expand(*shape, 4, 4).clone().requires_grad_()
    scene = replace(scene, identity=torch.zeros(shape, dtype=torch.int64), poses=poses)
    scene = replace(scene, scale=torch.ones(shape).double(), tint=torch.ones(*shape, 3).double())
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        images = scene.images(backend, prefix_selection(shape[1]))
        depth = render_depth(scene.bank, scene.instances, scene.camera)
        gradients = torch.autograd.grad(images.rgb.sum(), [poses, scene.bank.vertices])
    finally:
        torch.set_num_threads(before)
    assert images.rgb.shape == (shape[0], shape[1] + 1, 12, 16, 3)
    assert torch.equal(images.rgb, scene.background.detach().expand_as(images.rgb))
    assert not images.alpha.any() and depth.shape == (*shape, 12, 16)
    assert gradients[0].shape == poses.shape and not gradients[1].any()


def test_float32_stays_float32():
    """No arithmetic of the kernels is promoted, but for what they sum in float64 on purpose."""
    scene = random_scene(0, batch=1, objects=1, image_size=(16, 16)).to(torch.float32)
    scene.images("cpu", prefix_selection(1)).rgb.sum().backward()
    scene.layers("cpu", with_depth=True).depth.sum().backward()
    white = {"textures": torch.ones(3, 2, 2, 3), "texture_sizes": torch.full((3, 2), 2)}
    painted = replace(scene, bank=replace(scene.bank, **white))
    painted.layers("cpu")
    render_depth(scene.bank, scene.instances, scene.camera)
    kernels = [vertex_kernels.project, layer_kernels.rasterize, layer_kernels.rasterize_backward]
    for kernel in (*kernels, depth_kernels.depth, composite_kernels.composite):
        name = kernel.py_func.__name__
        signatures = [s for s in kernel.signatures if "float64" not in str(s)]
        assert signatures, name
        for signature in signatures:
            types = io.StringIO()
            kernel.inspect_types(types, signature=signature)
            assert "float32" in types.getvalue() and "float64" not in types.getvalue(), name


@pytest.mark.parametrize(
    ("name", "original", "copies"),
    [
        ("MIN_DEPTH", instances, (layer_kernels, vertex_kernels, depth_kernels)),
        ("MAX_DEPTH", instances, (layer_kernels, depth_kernels)),
        ("EPSILON", reference, (layer_kernels, depth_kernels)),
        ("EPSILON", reference_fragments, (fragment_kernels,)),
        ("CLIP_EPSILON", reference_fragments, (fragment_kernels,)),
        ("MIN_DESCENT", reference_ground, (ground_kernels,)),
        ("FAR_INSIDE", reference_ground, (ground_kernels,)),
        ("SHARPEST", reference_ground, (ground_kernels,)),
        ("TINY", ground_view, (ground_kernels,)),
        ("HIDDEN", composite_kernels, (visibility_kernels, layer_kernels)),
    ],
)
def test_kernels_constants_are_the_references(name, original, copies):
    """Kernels hold copies of their own: Numba's cache would not notice a change elsewhere."""
    for kernels in copies:
        assert getattr(kernels, name) == np.float32(getattr(original, name)), kernels.__name__


def test_results_do_not_depend_on_threads():
    """The same bits from one thread, from two, and from two again."""
    scene = random_scene(1, batch=8, objects=3, image_size=(32, 32)).to(torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 2):
            torch.set_num_threads(number)
            images = scene.images("cpu", prefix_selection(3))
            gradients = torch.autograd.grad(random_loss(images.rgb), list(scene.inputs.values()))
            results.append((images.rgb, *gradients))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


class Renders(torch.utils.data.Dataset):
    """Item i is a batch of rendered scenes."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        scene = random_scene(index, batch=4, objects=1, image_size=(16, 16))
        return scene.images("cpu", prefix_selection(1)).rgb.detach()


def depth_on_two_threads() -> list:
    """Render, with as little of torch's own threads as can be: those do not survive a fork."""
    torch.set_num_threads(2)
    return cpu.depth(cpu.project(TETRAHEDRON, PLACEMENT)).tolist()


TETRAHEDRON = MeshBank.pack([tetrahedron()])
EIGHT = Instances(torch.zeros(1, 8, dtype=torch.int64), torch.eye(4).expand(1, 8, 4, 4))
PLACEMENT = place(EIGHT, camera((16, 16)), LIGHT)
forks = pytest.mark.skipif("fork" not in get_all_start_methods(), reason="no fork here")


@forks
def test_renders_in_forked_data_workers():
    here = [Renders()[index] for index in range(2)]
    loader = torch.utils.data.DataLoader(
        Renders(), batch_size=None, num_workers=1, multiprocessing_context="fork", timeout=60
    )
    for image, expected in zip(loader, here, strict=True):
        torch.testing.assert_close(image, expected, rtol=0.0, atol=1e-12)


@forks
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has threads
def test_threads_are_made_anew_in_a_forked_child():
    threads = torch.get_num_threads()
    try:
        here = depth_on_two_threads()
        with get_context("fork").Pool(1) as pool:
            assert pool.apply_async(depth_on_two_threads).get(timeout=60) == here
    finally:
        torch.set_num_threads(threads)


def test_import_leaves_numba_and_triton_alone():
    program = "import sys, air3d.render; sys.exit(bool({'numba', 'triton'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_light_falls_on_the_lit_side_alone():
    """Colour times (ambient + diffuse * cosine), whatever the object's turn."""
    scene = random_scene(2, batch=1, objects=1, image_size=(32, 32))
    scene.identity[:] = 0
    layers = scene.layers("cpu")
    covered = layers.log_transmittance < -20
    direction = scene.light.source[0, :3]
    normals = scene.bank.normals[0, :24] @ scene.poses[0, 0, :3, :3].mT
    cosine = (normals @ (direction / direction.norm())).clamp(min=0.0)
    own = scene.bank.colours[0, :24, 0] * scene.tint[0, 0, 0]
    shades = own * (scene.light.ambient[0, 0] + scene.light.diffuse[0, 0] * cosine)
    red = layers.colour[covered][:, 0]
    assert shades.min() - 1e-9 <= red.min() and red.max() <= shades.max() + 1e-9
    nearest = (red[:, None] - shades).abs().amin(dim=1)
    assert (nearest < 1e-6).double().mean() > 0.5
    assert len(shades.unique()) > 1


def three_cameras():
    return camera((12, 16)).to(dtype=torch.float64).expand(3)


def two_scenes() -> dict[str, torch.Tensor]:
    scene = tiny_scene()
    fields = {"identity": scene.identity, "poses": scene.poses, "scale": scene.scale}
    return {name: field.repeat_interleave(2, dim=0) for name, field in fields.items()} | {
        "tint": scene.tint.repeat_interleave(2, dim=0)
    }


def no_scenes() -> dict[str, torch.Tensor]:
    return {name: field[:0] for name, field in two_scenes().items()}


def with_nan(name: str) -> dict:
    """Return a change to a tiny scene: NaN in an input, by name, also of an object that is there.

    Its last object, which is absent, may hold anything.
    """
    scene = tiny_scene()
    value = scene.inputs[name].detach().clone()
    value.view(-1)[0] = torch.nan
    changed = with_input(scene, name, value)
    return {part: getattr(changed, part) for part in ("poses", "scale", "tint", "camera", "light")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identity": torch.tensor([[0, 3, 0]])}, "identity must lie between -1"),
        ({"poses": torch.eye(4).expand(1, 3, 4, 4)}, "bank is torch.float64"),
        ({"camera": camera((12, 16))}, "camera is torch.float32"),
        ({"camera": three_cameras(), **two_scenes()}, "identity must hold 1 or 3 rows .* got 2"),
        ({"camera": three_cameras(), **no_scenes()}, "camera must hold 1 or 0 rows .* got 3"),
        (with_nan("poses"), "object_to_world must hold numbers, got NaN"),
        (with_nan("scale"), "scale must hold numbers, got NaN"),
        (with_nan("tint"), "colour must hold numbers, got NaN"),
        (with_nan("world_to_camera"), "camera must hold numbers, got NaN"),
        (with_nan("intrinsics"), "intrinsics must hold numbers, got NaN"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    scene = replace(tiny_scene(), **change)
    with pytest.raises(ValueError, match=message):
        scene.layers("auto")
    with pytest.raises(ValueError, match=message):
        render_depth(scene.bank, scene.instances, scene.camera)


@pytest.mark.parametrize("name", ["source", "ambient", "diffuse"])
def test_nan_in_the_light_is_named(name):
    with pytest.raises(ValueError, match="must hold numbers, got NaN"):
        replace(tiny_scene(), **with_nan(name)).layers("cpu")


def test_what_is_too_large_still_shows_nothing():
    """Unlike NaN: an infinite pose is farther than any camera sees."""
    scene = tiny_scene()
    poses = scene.poses.detach().clone()
    poses[0, 0, 0, 3] = torch.inf
    layers = replace(scene, poses=poses).layers("cpu")
    assert (layers.log_weight[0, 0] == -torch.inf).all()
    assert (layers.log_weight[0, 1] > -torch.inf).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_precisions_are_refused(backend):
    """In one sentence, by the reference too: half precisions have no digits for a depth."""
    scene = tiny_scene().to(torch.bfloat16)
    with pytest.raises(ValueError, match="object_to_world must be float32 or float64, got torch.b"):
        scene.layers(backend)


def bad_vertex(number: float, threads: int) -> list[torch.Tensor]:
    """Rasterize two layers, of which the first has a corner beyond all numbers, and go back."""
    scene = random_scene(8, batch=1, objects=2, image_size=(40, 36)).to(torch.float32)
    projected = cpu.project(scene.bank, place(scene.instances, scene.camera, scene.light))
    vertices = projected.vertices.detach().clone()
    vertices[0, scene.bank.num_vertices[projected.mesh[0]] - 1, 0] = number
    leaves = [vertices.requires_grad_(), projected.colours.detach().requires_grad_()]
    projected = replace(projected, vertices=leaves[0], colours=leaves[1])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        layers = cpu.rasterize_layers(projected, SOFT, with_depth=False)
        maps = [layers.colour, finite(layers.log_weight), layers.log_transmittance]
        gradients = torch.autograd.grad(random_loss(*maps), leaves)
    finally:
        torch.set_num_threads(before)
    return [*maps, *gradients]


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_a_bad_vertex_stays_in_its_layer(number):
    """The next layer is what it is beside a good one, on any number of threads."""
    truth, one, two = bad_vertex(0.0, 1), bad_vertex(number, 1), bad_vertex(number, 2)
    assert all(map(torch.equal, one, two))
    for value, true_value in zip(one, truth, strict=True):
        assert torch.equal(value[1], true_value[1]) and value.isfinite().all()
    reached = one[2][0] < 0  # other faces than the corner's
    assert reached.any() and one[4][0].any()


def test_an_unknown_backend_is_named():
    with pytest.raises(ValueError, match="must be auto, cpu, cuda or reference, got 'fast'"):
        tiny_scene().layers("fast")


def test_selection_of_a_missing_layer_is_named():
    scene = tiny_scene()
    with pytest.raises(ValueError, match="from -1 to 2"):
        composite(scene.layers("cpu"), torch.tensor([[0, 3]]), scene.background)


def test_composite_sorts_layers_by_depth_not_by_order():
    """Of two opaque layers the nearer hides the other, in whichever slot it is."""
    shape = (1, 2, 1, 1)
    layers = Layers(
        colour=torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).reshape(*shape, 3),
        log_weight=torch.tensor([500.0, 560.0]).reshape(shape),
        log_transmittance=torch.full(shape, -30.0),
    )
    images = composite(layers, torch.tensor([[0, 1], [1, 0], [0, -1]]), torch.zeros(3))
    assert isinstance(images, Composite)
    assert images.rgb[0, :, 0, 0].tolist() == [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
