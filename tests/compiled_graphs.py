"""A program that compiles the renderer's verbs, each into one graph, and compares the results.

``test_render_graphs.py`` runs it, in a process of its own, as the checks of shapes in the tests
cannot be compiled. For each verb it prints a line: its name, and what the compiled one answers to
wrong input.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from air3d.geometry import Camera, look_at, pinhole_intrinsics
from air3d.render import Instances, Layers, directional_light
from air3d.render import render as render_scenes
from air3d.render.composite import composite, expected_composite, join, squared_error, visibility
from air3d.render.ground import ground_layer, plain_ground
from air3d.render.rasterize import rasterize as rasterize_faces
from air3d.scene import MeshBank, load_mesh
from air3d.scene.spec import RenderSpec

CUBE = Path(__file__).resolve().parent.parent / "assets" / "meshes" / "red_cube.ply"
LIGHT, SOFT = directional_light((0.5, -0.4, 0.8)), RenderSpec()


def in_one_graph(function: Callable) -> Callable:
    """Compile a function; anything that would break its graph is an error."""
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def refusal(call: Callable[[], object]) -> str:
    """Return what is wrong with a call."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return "nothing is wrong"


def render() -> str:
    """From poses and scales to images; with an object that the bank does not hold."""
    bank = MeshBank.pack([load_mesh(CUBE)])
    pose = look_at(torch.tensor([0.0, -2.6, 1.9]), torch.tensor([0.0, 0.0, 0.1]))[None]
    camera = Camera(pose, pinhole_intrinsics(0.4, (20, 24))[None], (20, 24))
    black = torch.zeros(3)
    poses, scale = torch.eye(4).repeat(2, 2, 1, 1), torch.ones(2, 2, requires_grad=True)
    poses[:, 1, 0, 3] = 0.3
    leaves = [poses.requires_grad_(), scale]

    def image(poses: Tensor, scale: Tensor, identity: Tensor) -> Tensor:
        scenes = Instances(identity, poses, scale)
        return render_scenes(bank, scenes, camera, light=LIGHT, softness=SOFT, background=black)

    compiled, identity = in_one_graph(image), torch.zeros(2, 2, dtype=torch.int64)
    rgb, truth = compiled(*leaves, identity), image(*leaves, identity)
    torch.testing.assert_close(rgb, truth)
    gradients = [torch.autograd.grad(each.square().sum(), leaves) for each in (rgb, truth)]
    torch.testing.assert_close(*gradients)
    return refusal(partial(compiled, *leaves, identity + 5))


def merge() -> str:
    """All that merges layers, with a ground; with a layer that is not there."""
    pose = look_at(torch.tensor([0.0, -2.0, 1.0]), torch.zeros(3))[None]
    camera = Camera(pose, pinhole_intrinsics(0.7, (4, 5))[None], (4, 5)).expand(2)
    overhead = directional_light((0.0, 0.0, 1.0))

    def everything(
        colour: Tensor, log_weight: Tensor, background: Tensor, presence: Tensor, selection: Tensor
    ) -> Tensor:
        objects = Layers(colour, log_weight, -log_weight, log_weight)
        ground = ground_layer(plain_ground(background), camera, overhead, SOFT)
        layers = join([objects, ground])
        images = composite(layers, selection, background)
        errors = squared_error(layers, selection, background, colour[:, 0])
        mean = expected_composite(layers, presence, background)
        visible = visibility(layers, selection).square()
        parts = (images.rgb, images.depth, errors, mean.rgb, visible)
        return torch.stack([part.sum() for part in parts if part is not None]).sum()

    shapes = [(2, 2, 4, 5, 3), (2, 2, 4, 5), (3,), (2, 3)]
    inputs = [torch.rand(*shape, requires_grad=True) for shape in shapes]
    selection = torch.tensor([[0, 1], [2, -1]])
    compiled = in_one_graph(everything)
    gradients = [torch.autograd.grad(f(*inputs, selection), inputs) for f in (compiled, everything)]
    torch.testing.assert_close(*gradients)
    return refusal(partial(compiled, *inputs, selection + 1))


def rasterize() -> str:
    """Fragments of faces, clipped and not; with faces that are not there."""

    def maps(faces: Tensor, first_face: Tensor, z_clip: float | None) -> list[Tensor]:
        found = rasterize_faces(
            faces,
            first_face,
            torch.tensor([3, 3]),
            image_size=(6, 5),
            blur_radius=0.01,
            faces_per_pixel=2,
            z_clip=z_clip,
        )
        return [found.pix_to_face, found.zbuf, found.bary_coords, found.dists]

    torch.manual_seed(0)
    faces = (torch.rand(6, 3, 3) * 2.0 - torch.tensor([1.0, 1.0, 0.2])).requires_grad_()
    first_face, compiled = torch.tensor([0, 3]), in_one_graph(maps)
    for z_clip in (None, 0.5):
        outputs = [f(faces, first_face, z_clip) for f in (maps, compiled)]
        assert all(map(torch.equal, *outputs))
        sums = [torch.stack([part.sum() for part in parts[1:]]).sum() for parts in outputs]
        gradients = [torch.autograd.grad(total, faces)[0] for total in sums]
        torch.testing.assert_close(*gradients)
        assert gradients[0].any()
    return refusal(partial(compiled, faces, first_face + torch.tensor([0, 1]), None))


if __name__ == "__main__":
    for verb in (render, merge, rasterize):
        print(f"{verb.__name__}: {verb()}")
