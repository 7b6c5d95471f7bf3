"""Rasterize projected meshes softly into layers, one range of layers per thread."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from air3d.render.cpu import layer_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.instances import pixel_centres
from air3d.render.layers import Layers, ProjectedMeshes
from air3d.render.reference import blur_radius
from air3d.scene.spec import RenderSpec


def rasterize_layers(projected: ProjectedMeshes, softness: RenderSpec) -> Layers:
    """Rasterize every mesh into a layer, [layer, height, width].

    Gradients reach the projected vertices and colours.
    """
    fall = 1.0 / ((softness.far - softness.near) * softness.gamma)
    settings = [1.0 / softness.sigma, blur_radius(softness.sigma), softness.far * fall, fall]
    maps = _rasterize(
        projected.vertices,
        projected.colours,
        projected.faces,
        projected.num_faces,
        projected.mesh,
        list(projected.image_size),
        settings,
    )
    return Layers(*maps)


def depth(projected: ProjectedMeshes) -> Float[Tensor, "layer height width"]:
    """Return the depth of the nearest face at each pixel centre, inf where there is none."""
    out = projected.vertices.new_empty(len(projected.mesh), *projected.image_size)
    meshes = arrays(projected.vertices, projected.faces, projected.num_faces, projected.mesh)
    centres = _pixels(projected.image_size, projected.vertices)
    for_ranges(layer_kernels.depth, len(out), [*meshes, *centres, *arrays(out)])
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
) -> tuple[Tensor, Tensor, Tensor]:
    """``settings``: 1 / sigma, the blur radius, z_inv / gamma at depth 0 and its fall per metre."""
    outputs = _empty_maps(vertices, image_size)
    inputs = arrays(vertices, colours, faces, num_faces, mesh)
    rest = [*_pixels(image_size, vertices), *arrays(vertices.new_tensor(settings), *outputs)]
    for_ranges(layer_kernels.rasterize, len(vertices), [*inputs, *rest])
    return outputs


@_rasterize.register_fake
def _(vertices, colours, faces, num_faces, mesh, image_size, settings):
    return _empty_maps(vertices, image_size)


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
    """``outputs``: the layers' colour and log-weight; ``upstream``: gradients of all three maps."""
    grads = _empty_like(vertices), _empty_like(colours)
    inputs = arrays(vertices, colours, faces, num_faces, mesh)
    centres = _pixels(image_size, vertices)
    rest = arrays(vertices.new_tensor(settings), *outputs, *upstream, *grads)
    for_ranges(layer_kernels.rasterize_backward, len(vertices), [*inputs, *centres, *rest])
    return grads


@_rasterize_backward.register_fake
def _(vertices, colours, faces, num_faces, mesh, image_size, settings, outputs, upstream):
    return _empty_like(vertices), _empty_like(colours)


def _save(ctx, inputs, output):
    *tensors, ctx.image_size, ctx.settings = inputs
    ctx.save_for_backward(*tensors, *output[:2])


def _backward(ctx, *upstream):
    *tensors, colour, log_weight = ctx.saved_tensors
    grads = _rasterize_backward(
        *tensors, ctx.image_size, ctx.settings, [colour, log_weight], list(upstream)
    )
    return *grads, None, None, None, None, None


_rasterize.register_autograd(_backward, setup_context=_save)


def _empty_maps(like: Tensor, image_size: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return tensors to be filled with colour, log-weight and log-transmittance."""
    shape = (len(like), *image_size)
    return like.new_empty(*shape, 3), like.new_empty(shape), like.new_empty(shape)


def _empty_like(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor to be filled, whatever the strides of the given one."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _pixels(image_size: tuple[int, int] | list[int], like: Tensor) -> list[np.ndarray]:
    """Return the pixel centres' x and y."""
    height, width = image_size
    centres = (pixel_centres(width, height), pixel_centres(height, width))
    return arrays(*(like.new_tensor(side) for side in centres))
