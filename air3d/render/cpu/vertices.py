"""Project and light vertices: one thread is enough, and waits for none of torch's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from air3d.render.cpu import vertex_kernels
from air3d.render.cpu.threads import arrays
from air3d.render.instances import Placement, check_identity
from air3d.render.layers import ProjectedMeshes
from air3d.render.operations import project_by, projection_operation
from air3d.scene.assets import MeshBank


def project(bank: MeshBank, placement: Placement) -> ProjectedMeshes:
    """Project each layer's mesh into its image and light it.

    Gradients reach the placement and the bank's vertices, colours and normals.
    """
    return project_by(_project, bank, placement)


def _fill(
    inputs: list[Tensor], num_vertices: Tensor, mesh: Tensor, outputs: Sequence[Tensor]
) -> None:
    check_identity(mesh, len(inputs[4]))
    vertex_kernels.project(*arrays(num_vertices, mesh, *inputs, *outputs))


def _gradients(
    inputs: list[Tensor],
    num_vertices: Tensor,
    mesh: Tensor,
    projected: Tensor,
    grad_projected: Tensor,
    grad_lit: Tensor,
    wants_bank: bool,
) -> list[Tensor]:
    # In float64, as a mesh sums over all of its instances.
    grads = [torch.zeros_like(t, dtype=torch.float64) for t in inputs]
    upstream = (projected, grad_projected, grad_lit)
    vertex_kernels.project_backward(*arrays(num_vertices, mesh, *inputs, *upstream, *grads))
    return [grad.to(t.dtype) for grad, t in zip(grads, inputs, strict=True)]


_project = projection_operation("project", _fill, _gradients)
