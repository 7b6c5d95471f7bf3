"""Triton kernel that finds where on its image each layer's mesh may show."""

import triton
import triton.language as tl

from air3d.render.cuda.face_kernels import MIN_DEPTH, triple


@triton.jit
def rectangles(vertices, bounds, most_vertices, reach: tl.float64, VERTICES: tl.constexpr):
    """Fill a layer's row of ``bounds``: the lowest and highest x, and y; program ``layer``.

    Nowhere (from inf to -inf) if no vertex is in front of the camera. A vertex beyond all numbers
    is left out, as its faces are.
    """
    dtype: tl.constexpr = vertices.dtype.element_ty
    reach = tl.full((), reach, dtype)
    layer = tl.program_id(0).to(tl.int64)
    low_x, low_y = (
        tl.full((VERTICES,), float("inf"), dtype),
        tl.full((VERTICES,), float("inf"), dtype),
    )
    high_x, high_y = -low_x, -low_y
    for first in range(0, most_vertices, VERTICES):
        vertex = first + tl.arange(0, VERTICES)
        there = vertex < most_vertices
        x, y, z = triple(vertices + layer * most_vertices * 3, vertex, there)
        seen = there & (z >= MIN_DEPTH) & (tl.abs(x) < float("inf")) & (tl.abs(y) < float("inf"))
        low_x = tl.where(seen, tl.minimum(low_x, x - reach), low_x)
        high_x = tl.where(seen, tl.maximum(high_x, x + reach), high_x)
        low_y = tl.where(seen, tl.minimum(low_y, y - reach), low_y)
        high_y = tl.where(seen, tl.maximum(high_y, y + reach), high_y)
    tl.store(bounds + layer * 4, tl.min(low_x, axis=0))
    tl.store(bounds + layer * 4 + 1, tl.max(high_x, axis=0))
    tl.store(bounds + layer * 4 + 2, tl.min(low_y, axis=0))
    tl.store(bounds + layer * 4 + 3, tl.max(high_y, axis=0))
