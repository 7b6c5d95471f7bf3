"""Triton kernels that sum gradients, each sum by one program in an order that never changes."""

import triton
import triton.language as tl


@triton.jit
def sum_by_vertex(
    grad_corners, order, starts, mesh, grad_vertices, grad_colours, grad_uvs,
    num_meshes, most_vertices, num_corners,
    QUANTITIES: tl.constexpr, VERTICES: tl.constexpr,
):  # fmt: skip
    """Fill some vertices' gradients with the sums over the corners that lie there.

    ``order`` holds each mesh's corners (3 * face + corner), those of vertex 0 first, and
    ``starts`` where those of each vertex begin. Program ``layer * blocks + block``.
    """
    blocks = (most_vertices + VERTICES - 1) // VERTICES
    layer, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    m = tl.load(mesh + layer)
    exists = (m >= 0) & (m < num_meshes)
    m = tl.where(exists, m, 0).to(tl.int64)
    vertex = block * VERTICES + tl.arange(0, VERTICES)
    there = vertex < most_vertices
    at = starts + m * (most_vertices + 1) + vertex
    start = tl.load(at, mask=there & exists, other=0)
    number = tl.load(at + 1, mask=there & exists, other=0) - start
    quantity = tl.arange(0, 8)[None, :]
    total = tl.zeros((VERTICES, 8), grad_corners.dtype.element_ty)
    for k in range(0, tl.max(number).to(tl.int32)):
        more = k < number
        corner = tl.load(order + m * num_corners + start + k, mask=more, other=0)
        place = (layer * num_corners + corner)[:, None] * QUANTITIES + quantity
        mask = more[:, None] & (quantity < QUANTITIES)
        total += tl.load(grad_corners + place, mask=mask, other=0.0)
    place, there = (layer * most_vertices + vertex)[:, None], there[:, None]
    mask = there & (quantity < 3)
    tl.store(grad_vertices + place * 3 + quantity, total, mask=mask)
    mask = there & (quantity >= 3) & (quantity < 6)
    tl.store(grad_colours + place * 3 + quantity - 3, total, mask=mask)
    if QUANTITIES == 8:
        tl.store(grad_uvs + place * 2 + quantity - 6, total, mask=there & (quantity >= 6))


@triton.jit
def sum_by_mesh(by_layer, mesh, total, layers, values, VALUES: tl.constexpr):
    """Fill some of a mesh's numbers with the sums over its layers, in float64.

    Program ``mesh * blocks + block``.
    """
    blocks = (values + VALUES - 1) // VALUES
    m, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    value = block * VALUES + tl.arange(0, VALUES)
    there = value < values
    summed = tl.zeros((VALUES,), tl.float64)
    for layer in range(0, layers):
        own = tl.load(mesh + layer) == m
        at = by_layer + tl.full((), layer, tl.int64) * values + value
        summed += tl.load(at, mask=there & own, other=0.0).to(tl.float64)
    tl.store(total + m * values + value, summed, mask=there)
