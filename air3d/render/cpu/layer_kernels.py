"""Numba kernels that rasterize meshes softly into layers, all faces of a mesh into one layer.

Order-independent accumulation: per pixel the running maximum of z_inv / gamma, the sums of
weights and weighted colours relative to it (rescaled when it grows), and the sum of
log(1 - prob). There are no lists of fragments; the backward pass recomputes them.

Every kernel releases the GIL and works on a range of layers, each of which belongs to one call
alone; so results do not depend on the number of threads. Constants are float32 and literals that
meet a float are among them: a bare literal would promote float32 arithmetic to float64, while a
float32 constant leaves float64 arithmetic as it is. No kernel calls one of another file, as
Numba's cache would not notice when that changes.

Under clipping the barycentric coordinates are c_i = max(q_i, 0) / sum max(q_j, 0) with
q_i = E_i z_j z_k (E_i the edge function, of the face's orientation): the area and the perspective
denominator of PyTorch3D's sequence cancel, and with them its noisy gradient.
"""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
TINY = np.float32(1e-30)
# The sine of the angle to the rows below which an edge does not narrow them.
STEEP = np.float32(1e-3)
MARGIN = np.float32(0.01)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
INFINITY = np.float32(np.inf)
EPSILON = np.float32(1e-8)
# Fragments whose weight is exp(-50) of what lies in front add nothing, in float64 either.
HIDDEN = np.float32(-50.0)
# The product of (1 + exp(-|s|)) is folded into its logarithm before it could overflow.
LARGE_PRODUCT = np.float32(1e30)
# Where a pixel's accumulators lie: running maximum, sum of weights, three colours, and
# -log(1 - prob) as a sum and the product of what is still to be put through the logarithm.
NEAREST, WEIGHT, RED, MISS, PRODUCT, ACCUMULATORS = 0, 1, 2, 5, 6, 7
MIN_DEPTH = np.float32(1e-3)


@njit(nogil=True, cache=True)
def _edge(px, py, ax, ay, bx, by):
    """Twice the signed area of the triangle (a, b, p)."""
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@njit(nogil=True, cache=True)
def _frame(ax, ay, bx, by):
    """Unit direction and length of the edge from a to b, which differ in a face with an area."""
    length = math.sqrt((bx - ax) * (bx - ax) + (by - ay) * (by - ay))
    return (bx - ax) / length, (by - ay) / length, length


@njit(nogil=True, cache=True)
def _to_edge(px, py, ax, ay, tx, ty, length, orientation):
    """Where p is, seen from an edge that starts at a and runs along the unit vector t.

    Returns its distance to the edge's line, positive on the inner side, its squared distance to
    the edge, and how far along the edge the nearest point lies.
    """
    dx, dy = px - ax, py - ay
    inward = orientation * (dx * ty - dy * tx)
    along = dx * tx + dy * ty
    foot = min(max(along, ZERO), length)
    return inward, inward * inward + (along - foot) * (along - foot), foot


@njit(nogil=True, cache=True)
def _span(low, high, first_centre, per_unit, count):
    """Half-open range of the pixels whose falling centres may lie in [low, high]."""
    first = (first_centre - high) * per_unit + (ONE - MARGIN)
    last = (first_centre - low) * per_unit + MARGIN
    return int(min(max(first, ZERO), np.float32(count))), int(
        max(min(last, np.float32(count - 1)), -ONE)
    ) + 1


@njit(nogil=True, cache=True)
def _narrow(low, high, py, reach, ax, ay, tx, ty, orientation):
    """Narrow [low, high] to those x that lie at least ``-reach`` inward of an edge's line."""
    slope = orientation * ty
    if abs(slope) < STEEP:
        return low, high
    bound = ax + (orientation * (py - ay) * tx - reach) / slope
    if slope > ZERO:
        return max(low, bound), high
    return low, min(high, bound)


@njit(nogil=True, cache=True)
def _corners(vertices, layer, a, b, c):
    """The nine coordinates of a face, and 1 or -1 as its corners run in NDC.

    0 instead for a face to be dropped: too thin, too near, or not finite.
    """
    x0, y0, z0 = vertices[layer, a, 0], vertices[layer, a, 1], vertices[layer, a, 2]
    x1, y1, z1 = vertices[layer, b, 0], vertices[layer, b, 1], vertices[layer, b, 2]
    x2, y2, z2 = vertices[layer, c, 0], vertices[layer, c, 1], vertices[layer, c, 2]
    orientation = ZERO
    if z0 >= MIN_DEPTH and z1 >= MIN_DEPTH and z2 >= MIN_DEPTH:
        area = _edge(x2, y2, x0, y0, x1, y1)
        if EPSILON < area < INFINITY:
            orientation = ONE
        elif -INFINITY < area < -EPSILON:
            orientation = -ONE
    return x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation


@njit(nogil=True, cache=True)
def _barycentric(d0, d1, d2, m0, m1, m2):
    """Perspective-correct clipped barycentric coordinates, and one over what normalised them."""
    q0, q1, q2 = max(d0, ZERO) * m0, max(d1, ZERO) * m1, max(d2, ZERO) * m2
    # The sum is at least the face's area times a depth squared, unless rounding eats it.
    scale = ONE / max(q0 + q1 + q2, TINY)
    return q0 * scale, q1 * scale, q2 * scale, scale


@njit(nogil=True, cache=True)
def rasterize(
    start, stop, vertices, colours, faces, num_faces, mesh, xs, ys, settings,
    colour, log_weight, log_transmittance,
):  # fmt: skip
    """Fill layers start..stop of the three output maps.

    ``settings`` holds 1 / sigma, the blur radius, and what z_inv / gamma is made of: its value
    at depth 0 and its fall per metre.
    """
    height, width = len(ys), len(xs)
    per_unit = np.float32(min(height, width)) * HALF
    inv_sigma, blur, nearest, fall = settings[0], settings[1], settings[2], settings[3]
    reach = math.sqrt(blur)
    sums = np.empty((height, width, ACCUMULATORS), vertices.dtype)
    _clear(sums, 0, height, 0, width)
    for layer in range(start, stop):
        colour[layer] = ZERO
        log_weight[layer] = -INFINITY
        log_transmittance[layer] = ZERO
        count = num_faces[mesh[layer]] if mesh[layer] >= 0 else 0
        top, bottom, left, right = height, 0, width, 0
        for f in range(count):
            a, b, c = faces[mesh[layer], f, 0], faces[mesh[layer], f, 1], faces[mesh[layer], f, 2]
            x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation = _corners(vertices, layer, a, b, c)
            if orientation == ZERO:
                continue
            low, high = min(x0, x1, x2) - reach, max(x0, x1, x2) + reach
            column0, column1 = _span(low, high, xs[0], per_unit, width)
            row0, row1 = _span(
                min(y0, y1, y2) - reach, max(y0, y1, y2) + reach, ys[0], per_unit, height
            )
            if column0 >= column1 or row0 >= row1:
                continue
            top, bottom = min(top, row0), max(bottom, row1)
            left, right = min(left, column0), max(right, column1)
            tx0, ty0, length0 = _frame(x1, y1, x2, y2)
            tx1, ty1, length1 = _frame(x2, y2, x0, y0)
            tx2, ty2, length2 = _frame(x0, y0, x1, y1)
            m0, m1, m2 = length0 * z1 * z2, length1 * z0 * z2, length2 * z0 * z1
            closest = nearest - fall * min(z0, z1, z2)
            r0, g0, b0 = colours[layer, a, 0], colours[layer, a, 1], colours[layer, a, 2]
            r1, g1, b1 = colours[layer, b, 0], colours[layer, b, 1], colours[layer, b, 2]
            r2, g2, b2 = colours[layer, c, 0], colours[layer, c, 1], colours[layer, c, 2]
            for row in range(row0, row1):
                py = ys[row]
                low0, high0 = _narrow(low, high, py, reach, x1, y1, tx0, ty0, orientation)
                low1, high1 = _narrow(low0, high0, py, reach, x2, y2, tx1, ty1, orientation)
                low2, high2 = _narrow(low1, high1, py, reach, x0, y0, tx2, ty2, orientation)
                column0, column1 = _span(low2, high2, xs[0], per_unit, width)
                for column in range(column0, column1):
                    px = xs[column]
                    d0, distance0, foot0 = _to_edge(px, py, x1, y1, tx0, ty0, length0, orientation)
                    d1, distance1, foot1 = _to_edge(px, py, x2, y2, tx1, ty1, length1, orientation)
                    d2, distance2, foot2 = _to_edge(px, py, x0, y0, tx2, ty2, length2, orientation)
                    inside = d0 > ZERO and d1 > ZERO and d2 > ZERO
                    distance = min(distance0, distance1, distance2)
                    if not (inside or distance < blur):
                        continue
                    pixel = sums[row, column]
                    signed = (distance if inside else -distance) * inv_sigma
                    tail = math.exp(-abs(signed))
                    pixel[MISS] += max(signed, ZERO)
                    pixel[PRODUCT] *= ONE + tail
                    if pixel[PRODUCT] > LARGE_PRODUCT:
                        pixel[MISS] += math.log(pixel[PRODUCT])
                        pixel[PRODUCT] = ONE
                    if closest - pixel[NEAREST] < HIDDEN:
                        continue
                    w0, w1, w2, _ = _barycentric(d0, d1, d2, m0, m1, m2)
                    weight = (ONE if inside else tail) / (ONE + tail)
                    nearness = nearest - fall * (w0 * z0 + w1 * z1 + w2 * z2)
                    ahead = nearness - pixel[NEAREST]
                    if ahead > ZERO:
                        rescale = math.exp(-ahead)
                        pixel[NEAREST] = nearness
                        pixel[WEIGHT] *= rescale
                        pixel[RED] *= rescale
                        pixel[RED + 1] *= rescale
                        pixel[RED + 2] *= rescale
                    else:
                        weight *= math.exp(ahead)
                    pixel[WEIGHT] += weight
                    pixel[RED] += weight * (w0 * r0 + w1 * r1 + w2 * r2)
                    pixel[RED + 1] += weight * (w0 * g0 + w1 * g1 + w2 * g2)
                    pixel[RED + 2] += weight * (w0 * b0 + w1 * b1 + w2 * b2)
        for row in range(top, bottom):
            for column in range(left, right):
                pixel = sums[row, column]
                if pixel[WEIGHT] > ZERO:
                    log_weight[layer, row, column] = pixel[NEAREST] + math.log(pixel[WEIGHT])
                    log_transmittance[layer, row, column] = -pixel[MISS] - math.log(pixel[PRODUCT])
                    for channel in range(3):
                        colour[layer, row, column, channel] = pixel[RED + channel] / pixel[WEIGHT]
        _clear(sums, top, bottom, left, right)


@njit(nogil=True, cache=True)
def _clear(sums, top, bottom, left, right):
    """Reset the accumulators of a rectangle of pixels."""
    for row in range(top, bottom):
        for column in range(left, right):
            sums[row, column, :] = ZERO
            sums[row, column, NEAREST] = -INFINITY
            sums[row, column, PRODUCT] = ONE


@njit(nogil=True, cache=True)
def rasterize_backward(
    start, stop, vertices, colours, faces, num_faces, mesh, xs, ys, settings,
    colour, log_weight, grad_colour, grad_log_weight, grad_log_transmittance,
    grad_vertices, grad_colours,
):  # fmt: skip
    """Fill layers start..stop of the gradients of vertices and colours."""
    height, width = len(ys), len(xs)
    per_unit = np.float32(min(height, width)) * HALF
    inv_sigma, blur, nearest, fall = settings[0], settings[1], settings[2], settings[3]
    reach = math.sqrt(blur)
    # What one face has gathered: a row per corner, x, y, z and then the three colours.
    gathered = np.empty((3, 6), vertices.dtype)
    for layer in range(start, stop):
        grad_vertices[layer] = ZERO
        grad_colours[layer] = ZERO
        count = num_faces[mesh[layer]] if mesh[layer] >= 0 else 0
        for f in range(count):
            a, b, c = faces[mesh[layer], f, 0], faces[mesh[layer], f, 1], faces[mesh[layer], f, 2]
            x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation = _corners(vertices, layer, a, b, c)
            if orientation == ZERO:
                continue
            low, high = min(x0, x1, x2) - reach, max(x0, x1, x2) + reach
            column0, column1 = _span(low, high, xs[0], per_unit, width)
            row0, row1 = _span(
                min(y0, y1, y2) - reach, max(y0, y1, y2) + reach, ys[0], per_unit, height
            )
            if column0 >= column1 or row0 >= row1:
                continue
            tx0, ty0, length0 = _frame(x1, y1, x2, y2)
            tx1, ty1, length1 = _frame(x2, y2, x0, y0)
            tx2, ty2, length2 = _frame(x0, y0, x1, y1)
            m0, m1, m2 = length0 * z1 * z2, length1 * z0 * z2, length2 * z0 * z1
            closest = nearest - fall * min(z0, z1, z2)
            gathered[:] = ZERO
            for row in range(row0, row1):
                py = ys[row]
                low0, high0 = _narrow(low, high, py, reach, x1, y1, tx0, ty0, orientation)
                low1, high1 = _narrow(low0, high0, py, reach, x2, y2, tx1, ty1, orientation)
                low2, high2 = _narrow(low1, high1, py, reach, x0, y0, tx2, ty2, orientation)
                column0, column1 = _span(low2, high2, xs[0], per_unit, width)
                for column in range(column0, column1):
                    px = xs[column]
                    d0, distance0, foot0 = _to_edge(px, py, x1, y1, tx0, ty0, length0, orientation)
                    d1, distance1, foot1 = _to_edge(px, py, x2, y2, tx1, ty1, length1, orientation)
                    d2, distance2, foot2 = _to_edge(px, py, x0, y0, tx2, ty2, length2, orientation)
                    inside = d0 > ZERO and d1 > ZERO and d2 > ZERO
                    distance = min(distance0, distance1, distance2)
                    if not (inside or distance < blur):
                        continue
                    signed = (distance if inside else -distance) * inv_sigma
                    tail = math.exp(-abs(signed))
                    covered = (ONE if inside else tail) / (ONE + tail)
                    grad_signed = -covered * grad_log_transmittance[layer, row, column]
                    if closest - log_weight[layer, row, column] >= HIDDEN:
                        w0, w1, w2, scale = _barycentric(d0, d1, d2, m0, m1, m2)
                        nearness = nearest - fall * (w0 * z0 + w1 * z1 + w2 * z2)
                        share = covered * math.exp(nearness - log_weight[layer, row, column])
                        grad_share = grad_log_weight[layer, row, column]
                        grad_w0, grad_w1, grad_w2 = ZERO, ZERO, ZERO
                        for channel in range(3):
                            k0 = colours[layer, a, channel]
                            k1 = colours[layer, b, channel]
                            k2 = colours[layer, c, channel]
                            upstream = grad_colour[layer, row, column, channel]
                            grad_share += upstream * (
                                w0 * k0 + w1 * k1 + w2 * k2 - colour[layer, row, column, channel]
                            )
                            upstream *= share
                            grad_w0 += upstream * k0
                            grad_w1 += upstream * k1
                            grad_w2 += upstream * k2
                            gathered[0, 3 + channel] += upstream * w0
                            gathered[1, 3 + channel] += upstream * w1
                            gathered[2, 3 + channel] += upstream * w2
                        grad_share *= share
                        grad_signed += grad_share * (ONE - covered)
                        grad_z = -fall * grad_share
                        grad_w0 += grad_z * z0
                        grad_w1 += grad_z * z1
                        grad_w2 += grad_z * z2
                        # Through the normalisation, then q_i = e_i z_j z_k where e_i is positive.
                        mean = grad_w0 * w0 + grad_w1 * w1 + grad_w2 * w2
                        grad_q0 = (grad_w0 - mean) * scale if d0 > ZERO else ZERO
                        grad_q1 = (grad_w1 - mean) * scale if d1 > ZERO else ZERO
                        grad_q2 = (grad_w2 - mean) * scale if d2 > ZERO else ZERO
                        e0, e1, e2 = d0 * length0, d1 * length1, d2 * length2
                        gathered[0, 2] += grad_z * w0 + grad_q1 * e1 * z2 + grad_q2 * e2 * z1
                        gathered[1, 2] += grad_z * w1 + grad_q0 * e0 * z2 + grad_q2 * e2 * z0
                        gathered[2, 2] += grad_z * w2 + grad_q0 * e0 * z1 + grad_q1 * e1 * z0
                        # The edge functions run from corner 1 to 2, from 2 to 0, from 0 to 1.
                        g0 = orientation * grad_q0 * z1 * z2
                        g1 = orientation * grad_q1 * z0 * z2
                        g2 = orientation * grad_q2 * z0 * z1
                        gathered[0, 0] += g1 * (y2 - py) + g2 * (py - y1)
                        gathered[0, 1] += g1 * (px - x2) + g2 * (x1 - px)
                        gathered[1, 0] += g2 * (y0 - py) + g0 * (py - y2)
                        gathered[1, 1] += g2 * (px - x0) + g0 * (x2 - px)
                        gathered[2, 0] += g0 * (y1 - py) + g1 * (py - y0)
                        gathered[2, 1] += g0 * (px - x1) + g1 * (x0 - px)
                    # By the envelope theorem the foot's place along the edge is a constant.
                    pull = -TWO * inv_sigma * (grad_signed if inside else -grad_signed)
                    if distance == distance0:
                        tail_corner, head_corner, share = 1, 2, foot0 / length0
                        ox, oy = px - x1 - foot0 * tx0, py - y1 - foot0 * ty0
                    elif distance == distance1:
                        tail_corner, head_corner, share = 2, 0, foot1 / length1
                        ox, oy = px - x2 - foot1 * tx1, py - y2 - foot1 * ty1
                    else:
                        tail_corner, head_corner, share = 0, 1, foot2 / length2
                        ox, oy = px - x0 - foot2 * tx2, py - y0 - foot2 * ty2
                    gathered[tail_corner, 0] += pull * (ONE - share) * ox
                    gathered[tail_corner, 1] += pull * (ONE - share) * oy
                    gathered[head_corner, 0] += pull * share * ox
                    gathered[head_corner, 1] += pull * share * oy
            for axis in range(3):
                grad_vertices[layer, a, axis] += gathered[0, axis]
                grad_vertices[layer, b, axis] += gathered[1, axis]
                grad_vertices[layer, c, axis] += gathered[2, axis]
                grad_colours[layer, a, axis] += gathered[0, 3 + axis]
                grad_colours[layer, b, axis] += gathered[1, 3 + axis]
                grad_colours[layer, c, axis] += gathered[2, 3 + axis]


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
