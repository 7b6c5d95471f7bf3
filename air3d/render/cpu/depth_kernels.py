"""Numba kernel for crisp depth; see ``layer_kernels`` for the kernels' common rules."""

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
MARGIN = np.float32(0.01)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)
EPSILON = np.float32(1e-8)
MIN_DEPTH = np.float32(1e-3)
MAX_DEPTH = np.float32(1e6)


@njit(nogil=True, cache=True)
def _edge(px, py, ax, ay, bx, by):
    """Twice the signed area of the triangle (a, b, p)."""
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@njit(nogil=True, cache=True)
def _span(low, high, first_centre, per_unit, count):
    """Half-open range of the pixels whose falling centres may lie in [low, high]."""
    first = (first_centre - high) * per_unit + (ONE - MARGIN)
    last = (first_centre - low) * per_unit + MARGIN
    return int(min(max(first, ZERO), np.float32(count))), int(
        max(min(last, np.float32(count - 1)), -ONE)
    ) + 1


@njit(nogil=True, cache=True)
def _corners(vertices, layer, a, b, c):
    """The nine coordinates of a face, and 1 or -1 as its corners run in NDC.

    0 instead for a face to be dropped: too thin, too near, or not finite.
    """
    x0, y0, z0 = vertices[layer, a, 0], vertices[layer, a, 1], vertices[layer, a, 2]
    x1, y1, z1 = vertices[layer, b, 0], vertices[layer, b, 1], vertices[layer, b, 2]
    x2, y2, z2 = vertices[layer, c, 0], vertices[layer, c, 1], vertices[layer, c, 2]
    orientation = ZERO
    if min(z0, z1, z2) >= MIN_DEPTH and max(z0, z1, z2) <= MAX_DEPTH:
        area = _edge(x2, y2, x0, y0, x1, y1)
        if EPSILON < area < INFINITY:
            orientation = ONE
        elif -INFINITY < area < -EPSILON:
            orientation = -ONE
    return x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation


@njit(nogil=True, cache=True)
def depth(start, stop, vertices, faces, num_faces, mesh, xs, ys, out):
    """Fill layers start..stop with the depth of the nearest face at each pixel centre."""
    height, width = len(ys), len(xs)
    per_unit = np.float32(min(height, width)) * HALF
    for layer in range(start, stop):
        out[layer] = INFINITY
        count = num_faces[mesh[layer]] if mesh[layer] >= 0 else 0
        for f in range(count):
            a, b, c = faces[mesh[layer], f, 0], faces[mesh[layer], f, 1], faces[mesh[layer], f, 2]
            x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation = _corners(vertices, layer, a, b, c)
            if orientation == ZERO:
                continue
            column0, column1 = _span(min(x0, x1, x2), max(x0, x1, x2), xs[0], per_unit, width)
            row0, row1 = _span(min(y0, y1, y2), max(y0, y1, y2), ys[0], per_unit, height)
            for row in range(row0, row1):
                for column in range(column0, column1):
                    px, py = xs[column], ys[row]
                    e0 = orientation * _edge(px, py, x1, y1, x2, y2)
                    e1 = orientation * _edge(px, py, x2, y2, x0, y0)
                    e2 = orientation * _edge(px, py, x0, y0, x1, y1)
                    # A centre on a shared edge belongs to both faces, so that none falls between.
                    if e0 >= ZERO and e1 >= ZERO and e2 >= ZERO:
                        z = (e0 + e1 + e2) / (e0 / z0 + e1 / z1 + e2 / z2)
                        out[layer, row, column] = min(out[layer, row, column], z)
