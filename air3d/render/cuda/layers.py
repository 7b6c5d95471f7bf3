"""Rasterize projected meshes softly into layers."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.render.cuda import (
    depth_kernels,
    layer_gradient_kernels,
    layer_kernels,
    rectangle_kernels,
)
from air3d.render.cuda.launch import blocks, dense, launch
from air3d.render.cuda.sums import Corners, sum_by_mesh, sum_by_vertex
from air3d.render.layers import Layers, ProjectedMeshes
from air3d.render.operations import layer_operation, rasterize_by
from air3d.scene.spec import RenderSpec

SIDE = 8
"""Rows and columns of a tile, which has a program of its own."""

TESTED, LANES = 128, 4
"""Faces whose bounding boxes are tested at a time, and that then go over the tile at a time."""

FACES, PIXELS = 4, 32
"""Backward: faces of a program, and pixels of each that it looks at at a time."""


def rasterize_layers(
    projected: ProjectedMeshes, softness: RenderSpec, *, with_depth: bool
) -> Layers:
    """Rasterize every mesh into a layer, [layer, height, width].

    Gradients reach the projected vertices and colours, the uvs and the textures.
    """
    return rasterize_by(_rasterize, projected, softness, with_depth)


def depth(projected: ProjectedMeshes) -> Float[Tensor, "layer height width"]:
    """Return the depth of the nearest face at each pixel centre, inf where there is none."""
    vertices, faces = projected.vertices, projected.faces
    height, width = projected.image_size
    out = vertices.new_empty(len(projected.mesh), height, width)
    launch(
        depth_kernels.depth,
        len(out) * blocks(height, SIDE) * blocks(width, SIDE),
        *dense(vertices, faces, projected.num_faces, projected.mesh),
        _rectangles(vertices, 0.0),
        out,
        len(faces),
        vertices.shape[1],
        faces.shape[1],
        height,
        width,
        SIDE=SIDE,
        TESTED=TESTED,
        LANES=LANES,
        num_warps=4,
    )
    return out


def _fill(
    tensors: list[Tensor], image_size: list[int], settings: list[float], maps: Sequence[Tensor]
) -> None:
    height, width = image_size
    launch(
        layer_kernels.rasterize,
        len(tensors[0]) * blocks(height, SIDE) * blocks(width, SIDE),
        *dense(*tensors),
        _rectangles(tensors[0], reach=settings[5]),
        *maps,
        *_sizes(tensors, image_size),
        *_numbers(settings),
        TEXTURED=tensors[3].numel() > 0,
        WITH_DEPTH=maps[3].numel() > 0,
        SIDE=SIDE,
        TESTED=TESTED,
        LANES=LANES,
        num_warps=4,
    )


def _gradients(
    tensors: list[Tensor],
    image_size: list[int],
    settings: list[float],
    outputs: list[Tensor],
    upstream: list[Tensor],
    wants_textures: bool,
) -> list[Tensor]:
    vertices, colours, uvs, textures, _, faces, num_faces, mesh = tensors
    textured = textures.numel() > 0
    most_faces = faces.shape[1]
    grad_corners = vertices.new_empty(len(mesh), most_faces, 3, 8 if textured else 6)
    texels = textures.new_zeros(textures.shape if wants_textures else 0, dtype=torch.int64)
    unit = _texture_unit(colours, upstream[0]) if wants_textures else texels
    launch(
        layer_gradient_kernels.rasterize_backward,
        len(mesh) * blocks(most_faces, FACES),
        *dense(*tensors, *outputs, *upstream),
        grad_corners,
        texels,
        unit,
        *_sizes(tensors, image_size),
        *_numbers(settings),
        TEXTURED=textured,
        WITH_DEPTH=outputs[3].numel() > 0,
        WANTS_TEXTURES=wants_textures,
        QUANTITIES=grad_corners.shape[3],
        FACES=FACES,
        PIXELS=PIXELS,
        num_warps=4,
    )
    corners = Corners.of(faces, num_faces, vertices.shape[1])
    grad_vertices, grad_colours, by_layer = sum_by_vertex(grad_corners, corners, mesh)
    grad_uvs = torch.zeros_like(uvs, memory_format=torch.contiguous_format)
    if textured:
        grad_uvs = sum_by_mesh(by_layer, mesh, len(uvs)).to(uvs.dtype)
    grad_textures = textures.new_empty(0)
    if wants_textures:
        grad_textures = (texels * unit).to(textures.dtype)
    return [grad_vertices, grad_colours, grad_uvs, grad_textures]


_rasterize = layer_operation("cuda_rasterize_layers", _fill, _gradients)


def _rectangles(vertices: Tensor, reach: float) -> Float[Tensor, "layer 4"]:
    """Return where on its image each layer's mesh may show, with all that reaches beyond it."""
    bounds = vertices.new_empty(len(vertices), 4)
    launch(
        rectangle_kernels.rectangles,
        len(vertices),
        *dense(vertices),
        bounds,
        vertices.shape[1],
        reach,
        VERTICES=TESTED,
        num_warps=4,
    )
    return bounds


def _texture_unit(colours: Tensor, grad_colour: Tensor) -> Tensor:
    """Return the unit in which texels' gradients are summed, in float64.

    Whatever a pixel passes down, over all of its faces, is no more than its gradient times the
    brightest corner: so no sum of whole units leaves 2^62, and a unit is some 2^-60 of the largest
    that there could be.
    """
    if not grad_colour.numel():
        return grad_colour.new_ones((), dtype=torch.float64)
    most = grad_colour.abs().amax().double() * colours.detach().abs().amax().double()
    unit = most * (grad_colour.numel() * 2.0**-60)
    return torch.where(unit == 0.0, 1.0, unit)


def _sizes(tensors: list[Tensor], image_size: list[int]) -> list[int]:
    """Return the shapes that kernels need, of meshes, textures and images."""
    vertices, textures, faces = tensors[0], tensors[3], tensors[5]
    return [len(faces), vertices.shape[1], faces.shape[1], *textures.shape[1:3], *image_size]


def _numbers(settings: list[float]) -> list[float]:
    """Return the kernels' settings: all but the distance between pixels."""
    inverse_sigma, faintest, nearest, fall, _, reach, opaque = settings
    return [inverse_sigma, faintest, nearest, fall, reach, opaque]
