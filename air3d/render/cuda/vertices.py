"""Project and light vertices."""

from collections.abc import Sequence

import torch
from torch import Tensor

from air3d.render.cuda import vertex_kernels
from air3d.render.cuda.launch import blocks, dense, launch
from air3d.render.cuda.sums import sum_by_mesh
from air3d.render.instances import Placement
from air3d.render.layers import ProjectedMeshes
from air3d.render.operations import project_by, projection_operation
from air3d.scene.assets import MeshBank

VERTICES = 64
"""Vertices that a program works on at a time."""


def project(bank: MeshBank, placement: Placement) -> ProjectedMeshes:
    """Project each layer's mesh into its image and light it.

    Gradients reach the placement and the bank's vertices, colours and normals.
    """
    return project_by(_project, bank, placement)


def _fill(
    inputs: list[Tensor], num_vertices: Tensor, mesh: Tensor, outputs: Sequence[Tensor]
) -> None:
    meshes, most_vertices, _ = inputs[4].shape
    programs = len(mesh) * blocks(most_vertices, VERTICES)
    arguments = [*dense(*inputs, num_vertices, mesh), *outputs, meshes, most_vertices]
    launch(vertex_kernels.project, programs, *arguments, VERTICES=VERTICES, num_warps=2)


def _gradients(
    inputs: list[Tensor],
    num_vertices: Tensor,
    mesh: Tensor,
    projected: Tensor,
    grad_projected: Tensor,
    grad_lit: Tensor,
    wants_bank: bool,
) -> list[Tensor]:
    bank = inputs[4:]
    meshes, most_vertices, _ = bank[0].shape
    grads = [torch.empty_like(part, memory_format=torch.contiguous_format) for part in inputs[:4]]
    by_layer = projected.new_empty(len(mesh) if wants_bank else 0, most_vertices, 9)
    upstream = (projected, grad_projected, grad_lit)
    launch(
        vertex_kernels.project_backward,
        len(mesh),
        *dense(*inputs, num_vertices, mesh, *upstream),
        *grads,
        by_layer,
        meshes,
        most_vertices,
        WANTS_BANK=wants_bank,
        VERTICES=VERTICES,
        num_warps=2,
    )
    if not wants_bank:
        return [*grads, *(torch.zeros_like(part) for part in bank)]
    total = sum_by_mesh(by_layer, mesh, meshes).to(projected.dtype)
    return [*grads, *(part.contiguous() for part in total.split(3, dim=2))]


_project = projection_operation("cuda_project", _fill, _gradients)
