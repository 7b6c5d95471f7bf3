"""Sum gradients in a fixed order: over the corners at a vertex, and over a mesh's layers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.cuda import sum_kernels
from air3d.render.cuda.launch import blocks, dense, launch

VERTICES = 32
VALUES = 128
"""Vertices, or numbers of a mesh, that a program sums for."""


@dataclass(frozen=True)
class Corners:
    """Which corners of faces lie at each vertex.

    Attributes:
        order: each mesh's corners, 3 * face + corner: those at vertex 0, those at vertex 1, ...
        starts: where those of each vertex begin, and at last where the corners of padding do.
    """

    order: Int[Tensor, "mesh corner"]
    starts: Int[Tensor, "mesh vertex_and_1"]

    @classmethod
    def of(
        cls, faces: Int[Tensor, "mesh face 3"], num_faces: Int[Tensor, " mesh"], most_vertices: int
    ) -> "Corners":
        """Find them; nothing is read back from the device."""
        number = torch.arange(faces.shape[1], device=faces.device)
        padding = number >= num_faces[:, None]
        vertex = faces.masked_fill(padding[..., None], most_vertices).flatten(1)
        vertex, order = vertex.sort(dim=1, stable=True)
        wanted = torch.arange(most_vertices + 1, device=faces.device).expand(len(faces), -1)
        return cls(order, torch.searchsorted(vertex, wanted.contiguous()))


def sum_by_vertex(
    grad_corners: Float[Tensor, "layer face 3 quantity"],
    corners: Corners,
    mesh: Int[Tensor, " layer"],
) -> list[Tensor]:
    """Return the gradients of each layer's vertices, colours and, if they are there, uvs."""
    layers, _, _, quantities = grad_corners.shape
    meshes, ends = corners.starts.shape
    sums = [grad_corners.new_empty(layers, ends - 1, 3) for _ in range(2)]
    sums.append(grad_corners.new_empty(layers, ends - 1 if quantities == 8 else 0, 2))
    launch(
        sum_kernels.sum_by_vertex,
        layers * blocks(ends - 1, VERTICES),
        *dense(grad_corners, corners.order, corners.starts, mesh),
        *sums,
        meshes,
        ends - 1,
        corners.order.shape[1],
        QUANTITIES=quantities,
        VERTICES=VERTICES,
        num_warps=4,
    )
    return sums


def sum_by_mesh(
    by_layer: Float[Tensor, "layer *rest"], mesh: Int[Tensor, " layer"], meshes: int
) -> Float[Tensor, "mesh *rest"]:
    """Return the sum over each mesh's layers, in float64."""
    rest = by_layer.shape[1:]
    values = rest.numel()
    total = by_layer.new_empty(meshes, *rest, dtype=torch.float64)
    launch(
        sum_kernels.sum_by_mesh,
        meshes * blocks(values, VALUES),
        *dense(by_layer, mesh),
        total,
        len(mesh),
        values,
        VALUES=VALUES,
        num_warps=4,
    )
    return total
