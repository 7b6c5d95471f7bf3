"""The CUDA backend does what the CPU's does: layers, with all of their edge cases.

By Triton's interpreter where there is no GPU, which is slow: scenes are small.
"""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from cuda_cases import sent, without_interpreter
from render_cases import (
    SOFT,
    Scene,
    layer_arguments,
    one_thread,  # noqa: F401 (a fixture)
    random_scene,
    tetrahedron,
)
from test_render import WIDE, finite, random_loss, tiny_scene, worst
from test_render_layers_textured import paint

from air3d.render import cpu, cuda, instances, render, render_depth
from air3d.render.cpu import composite_kernels, layer_kernels
from air3d.render.cuda import face_kernels, layers, vertices
from air3d.render.cuda.sums import sum_by_mesh
from air3d.render.instances import place
from air3d.scene import ABSENT, MeshBank
from air3d.scene.spec import RenderSpec

pytestmark = pytest.mark.usefixtures("one_thread")
CLOSE = {torch.float64: 1e-9, torch.float32: 1e-3}


def rasterized(backend, scene: Scene, softness: RenderSpec = SOFT) -> dict[str, torch.Tensor]:
    """Return all maps of a scene's layers and the gradients of all inputs, by name."""
    projected = backend.project(scene.bank, place(scene.instances, scene.camera, scene.light))
    made = backend.rasterize_layers(projected, softness, with_depth=True)
    maps = {name: finite(part) for name, part in vars(made).items()}
    inputs = {name: part for name, part in scene.inputs.items() if name != "background"}
    gradients = torch.autograd.grad(random_loss(*maps.values()), list(inputs.values()))
    named = maps | dict(zip(inputs, gradients, strict=True))
    return {name: part.detach().cpu() for name, part in named.items()}


def small_scene(textured: bool) -> Scene:
    """Return a tetrahedron and a cube, turned at random, and a third that is absent."""
    scene = random_scene(6, batch=1, objects=3, image_size=(11, 13))
    bank = MeshBank.pack([tetrahedron(), scene.bank.meshes[0]])
    bank = paint(bank, [(5, 3), (0, 0)]) if textured else bank
    scene = replace(scene, bank=bank).to(torch.float64)
    scene.identity[:] = torch.tensor([0, ABSENT, 1])
    return scene


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("textured", [False, True], ids=["plain", "textured"])
def test_layers_and_gradients_are_the_cpus(textured, dtype, device):
    """In float32 up to 1e-3 of the largest: it has 1e-7 of a depth, so 1e-4 of a weight."""
    scene = small_scene(textured).to(dtype)
    truth, made = rasterized(cpu, scene), rasterized(cuda, sent(scene, device))
    assert made.keys() == truth.keys()
    for name, value in made.items():
        assert value.dtype == dtype and worst(value, truth[name].double()) < CLOSE[dtype], name
        assert truth[name].any(), name


def test_more_faces_than_are_tested_at_a_time_are_all_there(device):
    """Of a sphere in several blocks of faces."""
    scene = random_scene(1, batch=1, objects=1, image_size=(12, 10))
    scene.identity[:] = 1
    assert int(scene.bank.num_faces[1]) > 2 * layers.TESTED
    truth, made = scene.layers("cpu"), sent(scene, device).layers("cuda")
    for name in ("colour", "log_weight", "log_transmittance"):
        value = getattr(made, name).detach().cpu()
        torch.testing.assert_close(value, getattr(truth, name).detach(), rtol=1e-9, atol=1e-9)


def test_faces_at_the_camera_are_the_cpus(device):
    """Some of them cross the camera's plane, or are cut off by the nearest depth."""
    scene = tiny_scene()
    poses = scene.poses.detach().clone()
    poses[..., :3, 3] = torch.tensor([0.0, -2.35, 1.75]).double()
    poses[:, 1, :3, 3] = torch.tensor([0.1, -2.0, 1.5]).double()
    scene = replace(scene, poses=poses.requires_grad_())
    truth, made = rasterized(cpu, scene), rasterized(cuda, sent(scene, device))
    for name, value in made.items():
        assert value.isfinite().all() and worst(value, truth[name]) < 1e-9, name
    assert truth["log_transmittance"].any() and truth["poses"].any()


@pytest.mark.parametrize("case", ["absent", "behind", "outside", "no such mesh"])
def test_what_is_not_seen_is_background_without_gradient(case, device):
    """An empty layer, exactly; never NaN, whatever the pose of an absent object holds."""
    scene = tiny_scene()
    poses, identity = scene.poses.detach().clone(), torch.zeros_like(scene.identity)
    if case == "absent":
        identity[:] = ABSENT
        poses[:, 0] = torch.nan
    elif case == "behind":
        poses[..., :3, 3] = torch.tensor([0.0, -6.0, 4.2])
    elif case == "outside":
        poses[..., 0, 3] = 40.0
    scene = replace(scene, identity=identity, poses=poses.requires_grad_())
    scene = sent(scene, device)
    placement = place(scene.instances, scene.camera, scene.light)
    if case == "no such mesh":  # which only a GPU is asked to draw: elsewhere values are looked at
        placement = replace(placement, mesh=placement.mesh + 7)
    made = cuda.rasterize_layers(cuda.project(scene.bank, placement), SOFT, with_depth=True)
    assert (made.log_weight == -torch.inf).all()
    for part in (made.colour, made.log_transmittance, made.depth):
        assert not part.any()
    inputs = [part for name, part in scene.inputs.items() if name != "background"]
    loss = made.colour.sum() + made.log_transmittance.sum() + made.depth.sum()
    for gradient in torch.autograd.grad(loss, inputs):
        assert not gradient.any()  # NaN is something, too


@pytest.mark.parametrize("shape", [(2, 0), (0, 3), (0, 0)])
def test_scenes_without_objects_are_background(shape, device):
    scene = tiny_scene()
    poses = torch.eye(4).double().expand(*shape, 4, 4).clone().requires_grad_()
    scene = replace(scene, identity=torch.zeros(shape, dtype=torch.int64), poses=poses)
    scene = replace(scene, scale=torch.ones(shape).double(), tint=torch.ones(*shape, 3).double())
    scene = sent(scene, device)
    images = scene.images("cuda", torch.arange(shape[1])[None])
    assert torch.equal(images.rgb, scene.background.detach().expand_as(images.rgb))
    gradients = torch.autograd.grad(images.rgb.sum(), [scene.poses, scene.bank.vertices])
    assert gradients[0].shape == (*shape, 4, 4) and not gradients[1].any()


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_a_bad_vertex_leaves_out_its_faces_alone(number, device):
    scene = tiny_scene()
    projected = cpu.project(scene.bank, place(scene.instances, scene.camera, scene.light))
    corners = projected.vertices.detach().clone()
    corners[0, 3, 1] = number
    results = []
    for backend, where in ((cpu, torch.device("cpu")), (cuda, device)):
        leaf = corners.to(where).requires_grad_()
        made = backend.rasterize_layers(
            replace(sent(projected, where), vertices=leaf), SOFT, with_depth=False
        )
        maps = [made.colour, finite(made.log_weight), made.log_transmittance]
        (gradient,) = torch.autograd.grad(random_loss(*maps), leaf)
        results.append([part.detach().cpu() for part in (*maps, gradient)])
    for truth, value in zip(*results, strict=True):
        assert value.isfinite().all() and truth.any()
        torch.testing.assert_close(value, truth, rtol=1e-9, atol=1e-9)


def test_the_same_bits_come_again(device):
    """Those of texels, too, to which all layers of a mesh add in any order."""
    scene = replace(small_scene(textured=True), identity=torch.zeros(1, 3, dtype=torch.int64))
    scene = sent(scene.to(torch.float32), device)
    first, again = rasterized(cuda, scene, WIDE), rasterized(cuda, scene, WIDE)
    for name, value in first.items():
        assert torch.equal(value, again[name]), name


def test_sums_over_layers_are_float64(device):
    """2^24 is the largest number to which float32 can still add 1."""
    numbers = torch.tensor([[2.0**24], [1.0], [5.0], [1.0]], device=device)
    total = sum_by_mesh(numbers, torch.tensor([1, 1, -1, 1], device=device), 3)
    assert total.tolist() == [[0.0], [2.0**24 + 2.0], [0.0]]


def test_depth_is_the_cpus(device):
    scene = random_scene(0, batch=1, objects=3, image_size=(17, 24))
    scene.identity[:] = torch.tensor([0, ABSENT, 2])
    placement = place(scene.instances, scene.camera, scene.light)
    truth = cpu.depth(cpu.project(scene.bank, placement))
    placement = sent(placement, device)
    depth = cuda.depth(cuda.project(scene.bank.to(device), placement)).cpu()
    assert torch.equal(depth.isfinite(), truth.isfinite()) and truth.isfinite().any()
    torch.testing.assert_close(depth, truth, rtol=1e-9, atol=0.0)


def test_the_public_verb_renders_by_it(device):
    scene = tiny_scene()
    pictures = {"light": scene.light, "softness": SOFT, "background": scene.background}
    truth = render(scene.bank, scene.instances, scene.camera, **pictures, backend="cpu")
    scene = sent(scene, device)
    pictures = {"light": scene.light, "softness": SOFT, "background": scene.background}
    image = render(scene.bank, scene.instances, scene.camera, **pictures, backend="cuda")
    torch.testing.assert_close(image.cpu(), truth, rtol=0.0, atol=1e-9)
    assert "cuda_composite" in image.grad_fn.next_functions[0][0].name()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_it_is_the_automatic_choice_and_waits_for_nothing():
    scene = sent(tiny_scene(), torch.device("cuda", 0))
    pictures = {"light": scene.light, "softness": SOFT, "background": scene.background}
    for mode in ("default", "error"):  # compiled first
        torch.cuda.set_sync_debug_mode(mode)
        try:
            image = render(scene.bank, scene.instances, scene.camera, **pictures)
            image.sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    depth = render_depth(scene.bank, scene.instances, scene.camera)
    assert image.is_cuda and depth.is_cuda


def test_operations_keep_torchs_rules(device):
    scene = tiny_scene()
    scene = sent(replace(scene, bank=paint(scene.bank, [(4, 3)])).to(torch.float64), device)
    placement = place(scene.instances, scene.camera, scene.light)
    projected = cuda.project(scene.bank, placement)
    torch.library.opcheck(layers._rasterize, layer_arguments(projected, (5, 4), with_depth=True))
    fields = (placement.to_ndc, placement.source, placement.ambient, placement.diffuse)
    bank = (scene.bank.vertices, scene.bank.normals, scene.bank.colours)
    leaves = [part.detach().requires_grad_() for part in (*fields, *bank)]
    numbers = (scene.bank.num_vertices, placement.mesh)
    torch.library.opcheck(vertices._project, (*leaves, *numbers))


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("MIN_DEPTH", instances),
        ("MAX_DEPTH", instances),
        ("HIDDEN", composite_kernels),
        *((name, layer_kernels) for name in ("EPSILON", "TINY", "HUGE", "LOWEST", "FAINT")),
    ],
)
def test_kernels_constants_are_the_cpus(name, original):
    value = torch.tensor(getattr(face_kernels, name).value, dtype=torch.float32)
    assert value == torch.tensor(getattr(original, name), dtype=torch.float32)


def answer(program: str) -> str:
    """Run a program in a process in which Triton does not interpret; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=without_interpreter(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_cpus_tensors_need_none_of_it_nor_get_it_uninterpreted():
    program = """
import sys
from render_cases import random_scene
scene = random_scene(0, 1, 1, (8, 8))
scene.layers("auto").colour.sum().backward()
print("air3d.render.cuda" in sys.modules)
try:
    scene.layers("cuda")
except ValueError as error:
    print(error)
"""
    loaded, said = answer(program).splitlines()
    assert loaded == "False"
    assert "render: backend 'cuda' does not work on cpu" in said and "TRITON_INTERPRET=1" in said


@pytest.mark.parametrize("kinds", ["few", pytest.param("all", marks=pytest.mark.slow)])
def test_every_kernel_compiles_for_a_gpu(kinds):
    """For compute capability 9.0; which values come out is the interpreter's to say."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiled_kernels", kinds],
        cwd=ROOT,
        env=without_interpreter(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    compiled = dict(line.split() for line in done.stdout.splitlines())
    assert set(compiled) == {
        "behind_backward",
        "composite",
        "depth",
        "merge_backward",
        "project",
        "project_backward",
        "rasterize",
        "rasterize_backward",
        "rectangles",
        "squared_error",
        "sum_by_mesh",
        "sum_by_vertex",
    }
    assert all(int(size) > 0 for size in compiled.values())
