"""Rasterize projected meshes softly into layers, one range of layers per thread."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from air3d.render.cpu import depth_kernels, layer_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.instances import pixel_centres
from air3d.render.layers import OPAQUE, Layers, ProjectedMeshes
from air3d.render.reference import blur_radius
from air3d.scene.spec import RenderSpec

BAND_ROWS = 64
"""Rows of an image that one call works on; a larger image keeps several threads busy."""


def rasterize_layers(
    projected: ProjectedMeshes, softness: RenderSpec, *, with_depth: bool
) -> Layers:
    """Rasterize every mesh into a layer, [layer, height, width].

    Gradients reach the projected vertices and colours.
    """
    colour, log_weight, log_transmittance, depth = _rasterize(
        projected.vertices,
        projected.colours,
        projected.faces,
        projected.num_faces,
        projected.mesh,
        list(projected.image_size),
        _settings(softness, projected),
        with_depth,
    )
    return Layers(colour, log_weight, log_transmittance, depth if with_depth else None)


def depth(projected: ProjectedMeshes) -> Float[Tensor, "layer height width"]:
    """Return the depth of the nearest face at each pixel centre, inf where there is none."""
    out = projected.vertices.new_empty(len(projected.mesh), *projected.image_size)
    meshes = arrays(projected.vertices, projected.faces, projected.num_faces, projected.mesh)
    centres = _pixels(projected.image_size, projected.vertices)
    for_ranges(depth_kernels.depth, len(out), [*meshes, *centres, *arrays(out)])
    return out


@torch.library.custom_op("air3d::rasterize_layers", mutates_args=())
def _rasterize(
    vertices: Tensor,
    colours: Tensor,
    faces: Tensor,
    num_faces: Tensor,
    mesh: Tensor,
    image_size: list[int],
    settings: list[float],
    with_depth: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``settings``: what the kernels' docstring says. A depth not asked for has no pixels."""
    outputs = _empty_maps(vertices, image_size, with_depth)
    inputs = [BAND_ROWS, *arrays(vertices, colours, faces, num_faces, mesh)]
    inputs += [*_pixels(image_size, vertices), *arrays(vertices.new_tensor(settings))]
    items = len(vertices) * _bands(image_size)
    for_ranges(layer_kernels.rasterize, items, [*inputs, *_map_arrays(outputs)])
    return outputs


@_rasterize.register_fake
def _(vertices, colours, faces, num_faces, mesh, image_size, settings, with_depth):
    return _empty_maps(vertices, image_size, with_depth)


@torch.library.custom_op("air3d::rasterize_layers_backward", mutates_args=())
def _rasterize_backward(
    vertices: Tensor,
    colours: Tensor,
    faces: Tensor,
    num_faces: Tensor,
    mesh: Tensor,
    image_size: list[int],
    settings: list[float],
    outputs: list[Tensor],
    upstream: list[Tensor],
) -> tuple[Tensor, Tensor]:
    """``outputs``: the layers' four maps; ``upstream``: their gradients."""
    bands = _bands(image_size)
    # A buffer for each band, and their sum in a fixed order: the same on any number of threads.
    grads = vertices.new_empty(bands, *vertices.shape), colours.new_empty(bands, *colours.shape)
    inputs = [BAND_ROWS, *arrays(vertices, colours, faces, num_faces, mesh)]
    inputs += [*_pixels(image_size, vertices), *arrays(vertices.new_tensor(settings))]
    inputs += [*_map_arrays(outputs), *_map_arrays(upstream), *arrays(*grads)]
    for_ranges(layer_kernels.rasterize_backward, len(vertices) * bands, inputs)
    return (grads[0][0], grads[1][0]) if bands == 1 else (grads[0].sum(0), grads[1].sum(0))


@_rasterize_backward.register_fake
def _(vertices, colours, faces, num_faces, mesh, image_size, settings, outputs, upstream):
    return _empty_like(vertices), _empty_like(colours)


def _save(ctx, inputs, output):
    *tensors, ctx.image_size, ctx.settings, _ = inputs
    ctx.save_for_backward(*tensors, *output)


def _backward(ctx, *upstream):
    tensors, outputs = ctx.saved_tensors[:5], list(ctx.saved_tensors[5:])
    grads = _rasterize_backward(*tensors, ctx.image_size, ctx.settings, outputs, list(upstream))
    return *grads, None, None, None, None, None, None


_rasterize.register_autograd(_backward, setup_context=_save)


def _settings(softness: RenderSpec, projected: ProjectedMeshes) -> list[float]:
    """Return the numbers that the kernels want; their docstring says which."""
    fall = 1.0 / ((softness.far - softness.near) * softness.gamma)
    blur = blur_radius(softness.sigma)
    pixel = 2.0 / min(projected.image_size)
    opaque = OPAQUE[projected.vertices.dtype]
    inverse = 1.0 / softness.sigma
    return [inverse, -blur * inverse, softness.far * fall, fall, pixel, blur**0.5, opaque]


def _bands(image_size: tuple[int, int] | list[int]) -> int:
    """Return into how many bands of rows an image is cut."""
    return -(-image_size[0] // BAND_ROWS)


def _empty_maps(
    like: Tensor, image_size: list[int], with_depth: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tensors to be filled with colour, log-weight, log-transmittance and, if so, depth."""
    shape = (len(like), *image_size)
    depth = like.new_empty(shape if with_depth else (0, 0, 0))
    return like.new_empty(*shape, 3), like.new_empty(shape), like.new_empty(shape), depth


def _map_arrays(maps: Sequence[Tensor]) -> list[np.ndarray | None]:
    """View the four maps as arrays, and as None a depth that nobody asked for."""
    *others, depth = arrays(*maps)
    return [*others, depth if depth.size else None]


def _empty_like(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor to be filled, whatever the strides of the given one."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _pixels(image_size: tuple[int, int] | list[int], like: Tensor) -> list[np.ndarray]:
    """Return the pixel centres' x and y."""
    height, width = image_size
    centres = (pixel_centres(width, height), pixel_centres(height, width))
    return arrays(*(like.new_tensor(side) for side in centres))
