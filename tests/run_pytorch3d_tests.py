"""Run PyTorch3D's own tests with this project's rasterizer in the place of its compiled one.

    python tests/run_pytorch3d_tests.py path/to/pytorch3d

Takes a checkout of PyTorch3D and what its code and tests import (iopath, imageio). A module stands
in for its extension: rasterizing meshes, forward and backward, and the sigmoid blend are this
project's or plain torch; all else is the checkout's own extension where that has been built, and
missing otherwise, but for interpolation, which most of its tests need. Tests that ask for a GPU
get the CPU, as this rasterizer runs there: so where they hold one against the other, they hold it
against itself. Not one of this project's tests: pytest does not collect it.
"""

import argparse
import importlib
import importlib.util
import os
import sys
import unittest
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from air3d.render.cpu import fragments

FILES = (
    "test_rasterize_meshes",
    "test_blending",
    "test_shader",
    "test_render_meshes",
    "test_texturing",
    "test_render_meshes_clipped",
    "test_rasterize_rectangle_images",
    "test_interpolate_face_attributes",
)


@dataclass
class Outcome:
    """What became of one file's tests.

    Attributes:
        passed: how many passed.
        failed: name and last line of the error of each that did not.
        skipped: the same of those that need what is not here.
    """

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def rasterize_meshes(
    face_verts, first_face, num_faces, neighbour, image_size, blur_radius, faces_per_pixel,
    bin_size, max_faces_per_bin, perspective_correct, clip_barycentric_coords, cull_backfaces,
):  # fmt: skip
    """Stand in for the extension's function; bins are not needed."""
    *maps, pix_to_face = fragments._rasterize(
        face_verts,
        first_face,
        num_faces,
        neighbour,
        list(image_size),
        blur_radius,
        faces_per_pixel,
        perspective_correct,
        clip_barycentric_coords,
        cull_backfaces,
    )
    return pix_to_face, *maps


def rasterize_meshes_backward(
    face_verts, pix_to_face, grad_zbuf, grad_bary, grad_dists, perspective_correct,
    clip_barycentric_coords,
):  # fmt: skip
    """Stand in for the extension's function, which is not told which image shows which faces."""
    images = len(pix_to_face)
    return fragments._rasterize_backward(
        face_verts,
        torch.zeros(images, dtype=torch.int64),
        torch.full((images,), len(face_verts)),
        perspective_correct,
        clip_barycentric_coords,
        pix_to_face,
        grad_zbuf,
        grad_bary,
        grad_dists,
    )


def sigmoid_alpha_blend(dists: Tensor, pix_to_face: Tensor, sigma: float) -> Tensor:
    """Return the opacity of all fragments of a pixel together."""
    return 1.0 - (1.0 - _coverage(dists, pix_to_face, sigma)).prod(dim=-1)


def sigmoid_alpha_blend_backward(
    grad_alphas: Tensor, alphas: Tensor, dists: Tensor, pix_to_face: Tensor, sigma: float
) -> Tensor:
    """Return the gradient of :func:`sigmoid_alpha_blend` by ``dists``."""
    missed = (grad_alphas * (1.0 - alphas))[..., None]
    return -missed * _coverage(dists, pix_to_face, sigma) / sigma


def _coverage(dists: Tensor, pix_to_face: Tensor, sigma: float) -> Tensor:
    return torch.where(pix_to_face < 0, 0.0, torch.sigmoid(-dists / sigma))


def interp_face_attrs_forward(pix_to_face: Tensor, bary: Tensor, attributes: Tensor) -> Tensor:
    """Interpolate what the corners of faces hold, [F, 3, D], at fragments: [P, D]."""
    bary = torch.where(pix_to_face[:, None] < 0, 0.0, bary)
    return torch.einsum("pc,pcd->pd", bary, attributes[pix_to_face])


def interp_face_attrs_backward(
    pix_to_face: Tensor, bary: Tensor, attributes: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of :func:`interp_face_attrs_forward` by ``bary`` and ``attributes``."""
    upstream = torch.where(pix_to_face[:, None] < 0, 0.0, upstream)
    grad_bary = torch.einsum("pd,pcd->pc", upstream, attributes[pix_to_face])
    shares = torch.einsum("pc,pd->pcd", bary, upstream)
    face = pix_to_face.clamp(min=0)
    return grad_bary, torch.zeros_like(attributes).index_add_(0, face, shares)


def stand_in(checkout: Path) -> ModuleType:
    """Return the module that takes the extension's place."""
    module = ModuleType("pytorch3d._C")
    built = sorted((checkout / "pytorch3d").glob("_C*.so"))
    if built:
        spec = importlib.util.spec_from_file_location("pytorch3d._C", built[0])
        extension = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(extension)
        vars(module).update({name: getattr(extension, name) for name in dir(extension)})
    else:
        # The numbers are defaults of functions that no test here calls.
        vars(module).update(MAX_UINT=2**32 - 1, EPS=1e-5)
        _add(module, interp_face_attrs_forward, interp_face_attrs_backward)
    _add(module, rasterize_meshes, rasterize_meshes_backward)
    _add(module, sigmoid_alpha_blend, sigmoid_alpha_blend_backward)
    return module


def _add(module: ModuleType, *functions: Callable) -> None:
    vars(module).update({function.__name__: function for function in functions})


def load(file: str, checkout: Path) -> ModuleType:
    """Import one of the checkout's files of tests, with the CPU for a GPU."""
    path = checkout / "tests" / f"{file}.py"
    spec = importlib.util.spec_from_file_location(f"tests.{file}", path)
    module = importlib.util.module_from_spec(spec)
    source = path.read_text(encoding="utf-8")
    source = source.replace('"cuda:0"', '"cpu"').replace('"cuda"', '"cpu"')
    exec(compile(source, path, "exec"), vars(module))
    return module


def is_missing(message: str) -> bool:
    """Whether an error says that a GPU, a package or a part of the extension is not here."""
    return any(
        word in message for word in ("CUDA", "NVIDIA", "ModuleNotFoundError", "pytorch3d._C")
    )


def run(file: str, checkout: Path) -> Outcome:
    """Run one file's tests."""
    result = unittest.TestResult()
    suite = unittest.defaultTestLoader.loadTestsFromModule(load(file, checkout))
    outcome = Outcome(passed=suite.countTestCases())
    suite.run(result)
    for test, trace in result.failures + result.errors:
        last = trace.strip().splitlines()[-1]
        kind = outcome.skipped if is_missing(last) else outcome.failed
        kind.append(f"{test.id().split('.')[-1]}: {last[:150]}")
    outcome.skipped += [f"{test.id().split('.')[-1]}: {why}" for test, why in result.skipped]
    outcome.passed -= len(outcome.failed) + len(outcome.skipped)
    return outcome


def prepare(checkout: Path) -> None:
    """Put the stand-in and what else tests look for in place."""
    sys.path.insert(0, str(checkout))
    sys.modules["pytorch3d._C"] = stand_in(checkout)
    os.environ["PYTORCH3D_NO_TEST_OPENGL"] = "1"
    # Two files import it by name, and use it in tests of OpenGL alone.
    importlib.import_module("pytorch3d.renderer.opengl").MeshRasterizerOpenGL = None
    common = importlib.import_module("tests.common_testing")
    common.get_random_cuda_device = lambda: torch.device("cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="a checkout of PyTorch3D with its tests")
    checkout = parser.parse_args().checkout.resolve()
    prepare(checkout)
    failed = 0
    for file in FILES:
        outcome = run(file, checkout)
        failed += len(outcome.failed)
        counts = f"{len(outcome.failed)} failed, {len(outcome.skipped)} skipped"
        print(f"{file}: {outcome.passed} passed, {counts}", flush=True)
        for kind in ("failed", "skipped"):
            for line in getattr(outcome, kind):
                print(f"  {kind}: {line}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
