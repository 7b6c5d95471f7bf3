"""The fused path's torch operations, around the kernels of whichever backend computes them.

What torch wants to know of an operation hangs on no backend: its arguments and results, their
shapes while a compiler traces, what is kept for the backward pass, and which operation that is.
So a backend gives two functions, that which fills the results and that which returns the
gradients, and gets the operation, called ``air3d::<name>``.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import Tensor

from air3d.render.instances import Placement, placed_meshes
from air3d.render.layers import OPAQUE, Layers, ProjectedMeshes, blur_radius
from air3d.scene.assets import MeshBank
from air3d.scene.spec import RenderSpec

Operation: TypeAlias = Callable[..., Any]
"""A torch operation; torch finds its gradients."""


def empty_like(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor to be filled, whatever the strides of the given one."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def project_by(operation: Operation, bank: MeshBank, placement: Placement) -> ProjectedMeshes:
    """Project each layer's mesh into its image and light it, by a :func:`projection_operation`."""
    vertices, colours = operation(
        placement.to_ndc,
        placement.source,
        placement.ambient,
        placement.diffuse,
        bank.vertices,
        bank.normals,
        bank.colours,
        bank.num_vertices,
        placement.mesh,
    )
    return placed_meshes(vertices, colours, bank, placement)


def projection_operation(name: str, fill: Callable, gradients: Callable) -> Operation:
    """Return the operation that projects and lights vertices.

    Args:
        name: what torch calls it.
        fill: of (inputs, num_vertices, mesh, [projected, lit]); inputs are the placement's four
            tensors and the bank's vertices, normals and colours.
        gradients: of (inputs, num_vertices, mesh, projected, grad_projected, grad_lit, whether
            anybody wants the bank's), returns those of all inputs; zeros will do where nobody
            wants them.
    """

    @torch.library.custom_op(f"air3d::{name}", mutates_args=())
    def project(
        to_ndc: Tensor,
        source: Tensor,
        ambient: Tensor,
        diffuse: Tensor,
        vertices: Tensor,
        normals: Tensor,
        colours: Tensor,
        num_vertices: Tensor,
        mesh: Tensor,
    ) -> tuple[Tensor, Tensor]:
        outputs = _empty_vertices(to_ndc, vertices)
        inputs = [to_ndc, source, ambient, diffuse, vertices, normals, colours]
        fill(inputs, num_vertices, mesh, outputs)
        return outputs

    @project.register_fake
    def _(to_ndc, source, ambient, diffuse, vertices, normals, colours, num_vertices, mesh):
        return _empty_vertices(to_ndc, vertices)

    @torch.library.custom_op(f"air3d::{name}_backward", mutates_args=())
    def project_backward(
        inputs: list[Tensor],
        num_vertices: Tensor,
        mesh: Tensor,
        projected: Tensor,
        grad_projected: Tensor,
        grad_lit: Tensor,
        wants_bank: bool,
    ) -> list[Tensor]:
        upstream = (projected, grad_projected, grad_lit)
        return gradients(inputs, num_vertices, mesh, *upstream, wants_bank)

    @project_backward.register_fake
    def _(inputs, num_vertices, mesh, projected, grad_projected, grad_lit, wants_bank):
        return [empty_like(part) for part in inputs]

    def save(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output[0])

    def backward(ctx, grad_projected, grad_lit):
        *inputs, num_vertices, mesh, projected = ctx.saved_tensors
        wanted = any(ctx.needs_input_grad[4:7])
        upstream = (projected, grad_projected, grad_lit)
        grads = project_backward(inputs, num_vertices, mesh, *upstream, wanted)
        return *grads, None, None

    project.register_autograd(backward, setup_context=save)
    return project


def _empty_vertices(to_ndc: Tensor, vertices: Tensor) -> tuple[Tensor, Tensor]:
    """Return tensors to be filled with each layer's vertices and their colours."""
    shape = (len(to_ndc), *vertices.shape[1:])
    return to_ndc.new_empty(shape), to_ndc.new_empty(shape)


def rasterize_by(
    operation: Operation, projected: ProjectedMeshes, softness: RenderSpec, with_depth: bool
) -> Layers:
    """Rasterize every mesh into a layer, [layer, height, width], by a :func:`layer_operation`."""
    colour, log_weight, log_transmittance, depth = operation(
        projected.vertices,
        projected.colours,
        projected.uvs,
        projected.textures,
        projected.texture_sizes,
        projected.faces,
        projected.num_faces,
        projected.mesh,
        list(projected.image_size),
        layer_settings(softness, projected),
        with_depth,
    )
    return Layers(colour, log_weight, log_transmittance, depth if with_depth else None)


def layer_settings(softness: RenderSpec, projected: ProjectedMeshes) -> list[float]:
    """Return the numbers that kernels want.

    1 / sigma, the signed squared distance over sigma at the blur radius, what z_inv / gamma is
    made of (its value at depth 0 and its fall per metre), the distance between pixels, the radius
    of blur, and the log-transmittance below which a pixel is opaque.
    """
    fall = 1.0 / ((softness.far - softness.near) * softness.gamma)
    blur = blur_radius(softness.sigma)
    pixel = 2.0 / min(projected.image_size)
    opaque = OPAQUE[projected.vertices.dtype]
    inverse = 1.0 / softness.sigma
    return [inverse, -blur * inverse, softness.far * fall, fall, pixel, blur**0.5, opaque]


def layer_operation(name: str, fill: Callable, gradients: Callable) -> Operation:
    """Return the operation that rasterizes layers.

    Args:
        name: what torch calls it.
        fill: of (tensors, image_size, settings, maps); the tensors are the first eight fields of
            :class:`~air3d.render.layers.ProjectedMeshes`, and the maps colour, log-weight,
            log-transmittance and depth, which has no pixels if nobody asked for it.
        gradients: of (tensors, image_size, settings, maps, upstream, whether anybody wants the
            textures'), returns those of vertices, colours, uvs and textures, the last empty if
            not wanted.
    """

    @torch.library.custom_op(f"air3d::{name}", mutates_args=())
    def rasterize(
        vertices: Tensor,
        colours: Tensor,
        uvs: Tensor,
        textures: Tensor,
        texture_sizes: Tensor,
        faces: Tensor,
        num_faces: Tensor,
        mesh: Tensor,
        image_size: list[int],
        settings: list[float],
        with_depth: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        maps = _empty_maps(vertices, image_size, with_depth)
        tensors = [vertices, colours, uvs, textures, texture_sizes, faces, num_faces, mesh]
        fill(tensors, image_size, settings, maps)
        return maps

    @rasterize.register_fake
    def _(
        vertices, colours, uvs, textures, texture_sizes, faces, num_faces, mesh,
        image_size, settings, with_depth,
    ):  # fmt: skip
        return _empty_maps(vertices, image_size, with_depth)

    @torch.library.custom_op(f"air3d::{name}_backward", mutates_args=())
    def rasterize_backward(
        tensors: list[Tensor],
        image_size: list[int],
        settings: list[float],
        outputs: list[Tensor],
        upstream: list[Tensor],
        wants_textures: bool,
    ) -> list[Tensor]:
        return gradients(tensors, image_size, settings, outputs, upstream, wants_textures)

    @rasterize_backward.register_fake
    def _(tensors, image_size, settings, outputs, upstream, wants_textures):
        *others, textures = (empty_like(tensor) for tensor in tensors[:4])
        return [*others, textures if wants_textures else textures.new_empty(0)]

    def save(ctx, inputs, output):
        *tensors, ctx.image_size, ctx.settings, _ = inputs
        ctx.save_for_backward(*tensors, *output)

    def backward(ctx, *upstream):
        tensors, outputs = list(ctx.saved_tensors[:8]), list(ctx.saved_tensors[8:])
        wanted = ctx.needs_input_grad[3] and tensors[3].numel() > 0
        *grads, grad_textures = rasterize_backward(
            tensors, ctx.image_size, ctx.settings, outputs, list(upstream), wanted
        )
        return *grads, grad_textures if wanted else None, *(None for _ in range(7))

    rasterize.register_autograd(backward, setup_context=save)
    return rasterize


def _empty_maps(
    like: Tensor, image_size: list[int], with_depth: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tensors to be filled with colour, log-weight, log-transmittance and, if so, depth."""
    shape = (len(like), *image_size)
    depth = like.new_empty(shape if with_depth else (0, 0, 0))
    return like.new_empty(*shape, 3), like.new_empty(shape), like.new_empty(shape), depth
