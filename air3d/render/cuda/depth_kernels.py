"""Triton kernel for crisp depth, tile by tile as ``layer_kernels``."""

import triton
import triton.language as tl

from air3d.render.cuda.face_kernels import (
    area_of,
    corners_of,
    lanes_of,
    mesh_of,
    reached_faces,
    shows_on,
    tile_of,
    triple,
)


@triton.jit
def depth(
    vertices, faces, num_faces, mesh, bounds, out,
    num_meshes, most_vertices, most_faces, height, width,
    SIDE: tl.constexpr, TESTED: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Fill one tile of one layer with the depth of the nearest face at each pixel centre.

    A centre on a shared edge belongs to both faces, so that none falls between.
    """
    dtype: tl.constexpr = vertices.dtype.element_ty
    layer, row, column, px, py, left, right, top, bottom = tile_of(height, width, SIDE, dtype)
    m, count = mesh_of(layer, mesh, num_faces, num_meshes)
    count = tl.where(shows_on(bounds, layer, left, right, top, bottom), count, 0)
    own = vertices + layer * most_vertices * 3
    nearest = tl.full((LANES, SIDE * SIDE), float("inf"), dtype)
    for first in range(0, count, TESTED):
        reached = reached_faces(
            first + tl.arange(0, TESTED), count, m, layer, vertices, faces,
            most_vertices, most_faces, 0.0, left, right, top, bottom,
        )  # fmt: skip
        rank = tl.cumsum(reached.to(tl.int32), axis=0) - 1
        number = tl.sum(reached.to(tl.int32), axis=0)
        for start in range(0, number, LANES):
            face, there = lanes_of(reached, rank, first, start, TESTED, LANES)
            face, there = face[:, None], there[:, None]
            a, b, c = corners_of(face, there, m, faces, most_faces)
            x0, y0, z0 = triple(own, a, there)
            x1, y1, z1 = triple(own, b, there)
            x2, y2, z2 = triple(own, c, there)
            turn = tl.where(area_of(x0, y0, x1, y1, x2, y2) < 0.0, -1.0, 1.0).to(dtype)
            e0 = turn * area_of(x1, y1, x2, y2, px, py)
            e1 = turn * area_of(x2, y2, x0, y0, px, py)
            e2 = turn * area_of(x0, y0, x1, y1, px, py)
            inside = there & (e0 >= 0.0) & (e1 >= 0.0) & (e2 >= 0.0)
            z0, z1, z2 = (
                tl.where(there, z0, 1.0),
                tl.where(there, z1, 1.0),
                tl.where(there, z2, 1.0),
            )
            z = (e0 + e1 + e2) / tl.where(inside, e0 / z0 + e1 / z1 + e2 / z2, 1.0)
            nearest = tl.where(inside, tl.minimum(nearest, z), nearest)
    at = (layer * height + row) * width + column
    mask = (row < height) & (column < width)
    tl.store(out + at, tl.min(nearest, axis=0), mask=mask)
