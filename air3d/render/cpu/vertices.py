"""Project and light vertices: one thread is enough, and waits for none of torch's."""

import torch
from torch import Tensor

from air3d.render.cpu import vertex_kernels
from air3d.render.cpu.threads import arrays, empty_like
from air3d.render.instances import Placement, check_identity
from air3d.render.layers import ProjectedMeshes
from air3d.scene.assets import MeshBank


def project(bank: MeshBank, placement: Placement) -> ProjectedMeshes:
    """Project each layer's mesh into its image and light it.

    Gradients reach the placement and the bank's vertices, colours and normals.
    """
    vertices, colours = _project(
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
    return ProjectedMeshes(
        vertices=vertices,
        colours=colours,
        faces=bank.faces,
        num_faces=bank.num_faces,
        uvs=bank.uvs,
        textures=bank.textures,
        texture_sizes=bank.texture_sizes,
        mesh=placement.mesh,
        image_size=placement.image_size,
    )


@torch.library.custom_op("air3d::project", mutates_args=())
def _project(
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
    check_identity(mesh, len(vertices))
    shape = (len(to_ndc), *vertices.shape[1:])
    projected, lit = to_ndc.new_empty(shape), to_ndc.new_empty(shape)
    inputs = (to_ndc, source, ambient, diffuse, vertices, normals, colours)
    vertex_kernels.project(*arrays(num_vertices, mesh, *inputs, projected, lit))
    return projected, lit


@_project.register_fake
def _(to_ndc, source, ambient, diffuse, vertices, normals, colours, num_vertices, mesh):
    shape = (len(to_ndc), *vertices.shape[1:])
    return to_ndc.new_empty(shape), to_ndc.new_empty(shape)


@torch.library.custom_op("air3d::project_backward", mutates_args=())
def _project_backward(
    inputs: list[Tensor],
    num_vertices: Tensor,
    mesh: Tensor,
    projected: Tensor,
    grad_projected: Tensor,
    grad_lit: Tensor,
) -> list[Tensor]:
    # In float64, as a mesh sums over all of its instances.
    grads = [torch.zeros_like(t, dtype=torch.float64) for t in inputs]
    upstream = (projected, grad_projected, grad_lit)
    vertex_kernels.project_backward(*arrays(num_vertices, mesh, *inputs, *upstream, *grads))
    return [grad.to(t.dtype) for grad, t in zip(grads, inputs, strict=True)]


@_project_backward.register_fake
def _(inputs, num_vertices, mesh, projected, grad_projected, grad_lit):
    return [empty_like(t) for t in inputs]


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs, output[0])


def _backward(ctx, grad_projected, grad_lit):
    *inputs, num_vertices, mesh, projected = ctx.saved_tensors
    grads = _project_backward(inputs, num_vertices, mesh, projected, grad_projected, grad_lit)
    return *grads, None, None


_project.register_autograd(_backward, setup_context=_save)
