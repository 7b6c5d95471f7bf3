"""The CPU backend: Numba kernels under torch's autograd, on threads that survive a fork."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from air3d.render import cpu_kernels
from air3d.render.layers import Instances, Layers, ProjectedMeshes, pixel_centres
from air3d.render.reference import blur_radius
from air3d.scene.assets import MeshBank
from air3d.scene.spec import LightSpec, RenderSpec

# More chunks than threads, because layers differ in cost; a chunk costs some tens of microseconds.
_CHUNKS_PER_THREAD = 4

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def project(bank: MeshBank, instances: Instances, light: LightSpec) -> ProjectedMeshes:
    """Project each layer's mesh into its image and light it.

    Gradients reach the instances and the bank's vertices, colours and normals.
    """
    vertices, colours = _Project.apply(
        instances.to_ndc,
        instances.to_light,
        bank.vertices,
        bank.normals,
        bank.colours,
        _arrays(bank.num_vertices, instances.mesh, _strengths(light, bank.colours)),
    )
    return ProjectedMeshes(
        vertices, colours, bank.faces, bank.num_faces, instances.mesh, instances.image_size
    )


def rasterise(projected: ProjectedMeshes, softness: RenderSpec) -> Layers:
    """Rasterise every mesh into a layer, [layer, height, width].

    Gradients reach the projected vertices and colours.
    """
    return Layers(*_Rasterise.apply(projected.vertices, projected.colours, projected, softness))


def composite(
    layers: Layers, selection: Int[Tensor, "image layer"], background: Float[Tensor, "3"]
) -> tuple[Tensor, Tensor]:
    """Return rgb [B, P, H, W, 3] and alpha [B, P, H, W] of the selected layers' merger."""
    return _Composite.apply(
        layers.colour, layers.log_weight, layers.log_transmittance, background, selection
    )


def depth(projected: ProjectedMeshes) -> Float[Tensor, "layer height width"]:
    """Return the depth of the nearest face at each pixel centre, inf where there is none."""
    out = projected.vertices.new_empty(len(projected.mesh), *projected.image_size)
    arrays = [*_arrays(projected.vertices), *_meshes_and_pixels(projected), *_arrays(out)]
    _for_ranges(cpu_kernels.depth, len(out), arrays)
    return out


class _Project(torch.autograd.Function):
    """One thread is enough; as torch operations this would wait for torch's threads many times."""

    @staticmethod
    def forward(ctx, to_ndc, to_light, vertices, normals, colours, rest):
        shape = (len(to_ndc), *vertices.shape[1:])
        projected, lit = to_ndc.new_empty(shape), to_ndc.new_empty(shape)
        ctx.save_for_backward(to_ndc, to_light, vertices, normals, colours, projected)
        ctx.rest = rest
        arrays = _arrays(to_ndc, to_light, vertices, normals, colours, projected, lit)
        cpu_kernels.project(*rest, *arrays)
        return projected, lit

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_projected, grad_lit):
        saved = ctx.saved_tensors
        # In float64, as a mesh sums over all of its instances.
        grads = [torch.zeros_like(t, dtype=torch.float64) for t in saved[:5]]
        arrays = _arrays(*saved, grad_projected, grad_lit, *grads)
        cpu_kernels.project_backward(*ctx.rest, *arrays)
        return *(grad.to(t.dtype) for grad, t in zip(grads, saved[:5], strict=True)), None


class _Rasterise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vertices, colours, projected, softness):
        height, width = projected.image_size
        colour = vertices.new_empty(len(vertices), height, width, 3)
        log_weight = vertices.new_empty(len(vertices), height, width)
        log_transmittance = torch.empty_like(log_weight)
        ctx.arguments = [*_meshes_and_pixels(projected), _settings(softness, vertices)]
        ctx.save_for_backward(vertices, colours, colour, log_weight)
        ctx.set_materialize_grads(False)
        outputs = _arrays(colour, log_weight, log_transmittance)
        arrays = [*_arrays(vertices, colours), *ctx.arguments, *outputs]
        _for_ranges(cpu_kernels.rasterise, len(vertices), arrays)
        return colour, log_weight, log_transmittance

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_colour, grad_log_weight, grad_log_transmittance):
        vertices, colours, colour, log_weight = ctx.saved_tensors
        grads = _empty_like(vertices, colours)
        arrays = [
            *_arrays(vertices, colours),
            *ctx.arguments,
            *_arrays(colour, log_weight),
            _upstream(grad_colour, colour.shape, colour),
            _upstream(grad_log_weight, log_weight.shape, colour),
            _upstream(grad_log_transmittance, log_weight.shape, colour),
            *_arrays(*grads),
        ]
        _for_ranges(cpu_kernels.rasterise_backward, len(vertices), arrays)
        return *grads, None, None


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, colour, log_weight, log_transmittance, background, selection):
        batch, _, height, width = log_weight.shape
        rgb = colour.new_empty(batch, len(selection), height, width, 3)
        alpha = colour.new_empty(batch, len(selection), height, width)
        ctx.save_for_backward(colour, log_weight, log_transmittance, background, selection)
        ctx.set_materialize_grads(False)
        ctx.images = (rgb.shape, alpha.shape)
        maps = _flat(colour, log_weight, log_transmittance, rgb, alpha)
        _for_ranges(cpu_kernels.composite, batch, _arrays(selection, background, *maps))
        return rgb, alpha

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_rgb, grad_alpha):
        colour, log_weight, log_transmittance, background, selection = ctx.saved_tensors
        grads = _empty_like(colour, log_weight, log_transmittance)
        # In float64, as it sums over every pixel of an image; empty where nobody asks for it.
        rows = len(colour) if ctx.needs_input_grad[3] else 0
        grad_background = background.new_empty(rows, 3, dtype=torch.float64)
        upstream = [
            torch.from_numpy(_upstream(grad, shape, colour))
            for grad, shape in zip((grad_rgb, grad_alpha), ctx.images, strict=True)
        ]
        maps = _flat(colour, log_weight, log_transmittance, *upstream, *grads)
        arrays = _arrays(selection, background, *maps, grad_background)
        _for_ranges(cpu_kernels.composite_backward, len(colour), arrays)
        return *grads, grad_background.sum(dim=0).to(background.dtype), None


def _meshes_and_pixels(projected: ProjectedMeshes) -> list[np.ndarray]:
    """Return faces, their number, each layer's mesh, and the pixel centres' x and y."""
    height, width = projected.image_size
    centres = (pixel_centres(width, height), pixel_centres(height, width))
    xs, ys = (projected.vertices.new_tensor(side) for side in centres)
    return _arrays(projected.faces, projected.num_faces, projected.mesh, xs, ys)


def _strengths(light: LightSpec, like: Tensor) -> Tensor:
    """Return the strengths of light in the precision of ``like``; Python's floats are float64."""
    return like.new_tensor([light.ambient, light.diffuse])


def _settings(softness: RenderSpec, like: Tensor) -> np.ndarray:
    """Return 1 / sigma, the blur radius, and z_inv / gamma at depth 0 and its fall per metre."""
    fall = 1.0 / ((softness.far - softness.near) * softness.gamma)
    values = [1.0 / softness.sigma, blur_radius(softness.sigma), softness.far * fall, fall]
    return like.new_tensor(values).numpy()


def _upstream(gradient: Tensor | None, shape: Sequence[int], like: Tensor) -> np.ndarray:
    """View a gradient as an array; one that nobody asked for is zero.

    Not left to autograd, whose threads would fill it: waiting for them can take longer than all
    the rest where other processes keep the cores busy.
    """
    if gradient is None:
        return np.zeros(shape, like.detach().new_empty(0).numpy().dtype)
    return _arrays(gradient)[0]


def _empty_like(*tensors: Tensor) -> list[Tensor]:
    """Return contiguous tensors to be filled, whatever the strides of the given ones."""
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors]


def _flat(*maps: Tensor) -> list[Tensor]:
    """Put the pixels of maps [B, N, H, W, ...] into one dimension."""
    return [part.contiguous().flatten(2, 3) for part in maps]


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """View tensors as the contiguous arrays that the kernels are compiled for."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _for_ranges(kernel: Callable, count: int, arrays: list) -> None:
    """Run ``kernel(start, stop, *arrays)`` over ranges that cover ``count`` items, on threads."""
    threads = torch.get_num_threads()
    if threads == 1 or count <= 1:
        kernel(0, count, *arrays)
        return
    chunks = min(count, threads * _CHUNKS_PER_THREAD)
    bounds = [count * chunk // chunks for chunk in range(chunks + 1)]
    futures = [
        _executor(threads).submit(kernel, start, stop, *arrays) for start, stop in pairwise(bounds)
    ]
    for future in futures:
        future.result()


def _executor(threads: int) -> ThreadPoolExecutor:
    """Return the process's threads, made anew when torch's number of threads has changed."""
    global _pool, _pool_size
    if _pool is None or _pool_size != threads:
        _pool, _pool_size = ThreadPoolExecutor(threads, "air3d-render"), threads
    return _pool


def _forget_threads() -> None:
    """Drop the executor in a forked child, which inherits it but not its threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
