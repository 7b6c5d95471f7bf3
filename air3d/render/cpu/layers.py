"""Rasterize projected meshes softly into layers, one range of layers per thread."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from air3d.render.cpu import depth_kernels, layer_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.instances import exact_centres
from air3d.render.layers import Layers, ProjectedMeshes
from air3d.render.operations import layer_operation, rasterize_by
from air3d.scene.spec import RenderSpec

BAND_ROWS = 64
"""Rows of an image that one call works on; a larger image keeps several threads busy."""

MOST_SUMS, MOST_SUMMED = 32, 2**23
"""How many sums there are of the textures' gradient at most, and how many numbers in all."""


def rasterize_layers(
    projected: ProjectedMeshes, softness: RenderSpec, *, with_depth: bool
) -> Layers:
    """Rasterize every mesh into a layer, [layer, height, width].

    Gradients reach the projected vertices and colours, the uvs and the textures.
    """
    return rasterize_by(_rasterize, projected, softness, with_depth)


def depth(projected: ProjectedMeshes) -> Float[Tensor, "layer height width"]:
    """Return the depth of the nearest face at each pixel centre, inf where there is none."""
    out = projected.vertices.new_empty(len(projected.mesh), *projected.image_size)
    meshes = arrays(projected.vertices, projected.faces, projected.num_faces, projected.mesh)
    centres = arrays(*exact_centres(projected.image_size, projected.vertices))
    for_ranges(depth_kernels.depth, len(out), [*meshes, *centres, *arrays(out)])
    return out


def _fill(
    tensors: list[Tensor], image_size: list[int], settings: list[float], maps: Sequence[Tensor]
) -> None:
    inputs = [*_inputs(tensors, image_size, settings), *_map_arrays(maps)]
    for_ranges(layer_kernels.rasterize, len(tensors[0]) * _bands(image_size), inputs)


def _gradients(
    tensors: list[Tensor],
    image_size: list[int],
    settings: list[float],
    outputs: list[Tensor],
    upstream: list[Tensor],
    wants_textures: bool,
) -> list[Tensor]:
    vertices, _, uvs, textures, *_, mesh = tensors
    bands, layers, most_vertices = _bands(image_size), *vertices.shape[:2]
    # A buffer for each band, and their sum in a fixed order: the same on any number of threads.
    buffers = [vertices.new_empty(bands, layers, most_vertices, 3) for _ in range(2)]
    buffers.append(vertices.new_empty(bands, layers, most_vertices if textures.numel() else 0, 2))
    inputs = _inputs(tensors, image_size, settings)
    inputs += [*_map_arrays(outputs), *_map_arrays(upstream), *arrays(*buffers)]
    grad_textures = _run_backward(layers * bands, inputs, textures, wants_textures)
    grad_vertices, grad_colours, by_layer = (_sum_in_order(buffer) for buffer in buffers)
    # In float64, as a mesh sums over all of its instances.
    grad_uvs = torch.zeros_like(uvs, dtype=torch.float64)
    if textures.numel():
        grad_uvs.index_add_(0, mesh.clamp(min=0), by_layer.double())
    return [grad_vertices, grad_colours, grad_uvs.to(uvs.dtype), grad_textures]


_rasterize = layer_operation("rasterize_layers", _fill, _gradients)


def _run_backward(items: int, inputs: list, textures: Tensor, wanted: bool) -> Tensor:
    """Run the backward kernel; return the textures' gradient, empty if not wanted.

    Every part of the items has a sum of its own, and their number hangs on no number of threads.
    """
    kernel = layer_kernels.rasterize_backward
    if not wanted:
        nothing = np.zeros((0, 0, 0, 0)) if textures.numel() else None
        for_ranges(kernel, items, [*inputs, nothing])
        return textures.new_empty(0)
    parts = max(1, min(items, MOST_SUMS, MOST_SUMMED // textures.numel()))
    bounds = [items * part // parts for part in range(parts + 1)]
    sums = np.zeros((parts, *textures.shape))

    def run(first: int, last: int) -> None:
        for part in range(first, last):
            rest = [*inputs, sums[part]]
            kernel(bounds[part], bounds[part + 1], *rest)

    for_ranges(run, parts, [])
    return _sum_in_order(torch.from_numpy(sums)).to(textures.dtype)


def _sum_in_order(parts: Tensor) -> Tensor:
    """Sum along the first dimension, one after the other."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _inputs(tensors: Sequence[Tensor], image_size: list[int], settings: list[float]) -> list:
    """Return what both kernels begin with, after the range of items."""
    vertices, colours, *paint, faces, num_faces, mesh = arrays(*tensors)
    textured = tuple(paint) if tensors[3].numel() else None
    rest = arrays(*exact_centres(image_size, tensors[0]), tensors[0].new_tensor(settings))
    return [BAND_ROWS, vertices, colours, faces, num_faces, mesh, textured, *rest]


def _bands(image_size: tuple[int, int] | list[int]) -> int:
    """Return into how many bands of rows an image is cut."""
    return -(-image_size[0] // BAND_ROWS)


def _map_arrays(maps: Sequence[Tensor]) -> list[np.ndarray | None]:
    """View the four maps as arrays, and as None a depth that nobody asked for."""
    *others, depth = arrays(*maps)
    return [*others, depth if depth.size else None]
