"""Numba kernels that keep the nearest faces at every pixel, and their backward pass.

The forward pass follows PyTorch3D's CPU rasterizer operation by operation, so its float32 results
are equal to the bit: no fastmath, no reciprocal where there a quotient is, and constants in the
precision of the faces (a bare literal would promote float32 arithmetic to float64). Only what
decides which pixels *need not be looked at* is done otherwise, in float64 and with a margin that
covers all rounding.

The backward pass does not follow PyTorch3D. It works in float64, from closed forms in which the
area and the perspective denominator cancel:

* The distance to the nearest edge: by the envelope theorem the foot's place is a constant.
* Barycentric coordinates depend on q_i = E_i z_j z_k alone (E_i the edge functions; q_i = E_i
  without perspective): q_i / sum q_j, and with clipping the same over the positive q_i.
* What is clamped (perspective denominator at 1e-8 without clipping, clipping's sum at 1e-5)
  passes no gradient.

Numba's max and min are C++'s, also for NaN; so fragments that overflow are those of PyTorch3D.

An item of work is a band of rows of one image, and belongs to one call alone. A band writes its
own pixels and its own sums of gradients, so results do not depend on the number of threads. No
kernel calls one of another file, as Numba's cache would not notice when that changes.
"""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)
MINUS_ONE = np.float32(-1.0)
# PyTorch3D's float64 constants for comparisons and sums that it does in float64.
EPSILON = 1e-8
CLIP_EPSILON = 1e-5
# Relative to the coordinates' size, more than float32's rounding can move a face's outline.
MARGIN = 4e-6
# Faces with less area for their extent are too thin for float32 to say on which side they lie.
THIN = 1e-6
THINNEST = 1e-7
# An edge narrows a row only if its normal's share along the row is at least this.
STEEP = 1e-3
# In pixels, more than float32 can move a pixel's centre.
PIXEL_MARGIN = 0.05
EXACT = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**EXACT)
def _edge(px, py, ax, ay, bx, by):
    """Twice the signed area of the triangle (a, b, p)."""
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@njit(**EXACT)
def _shares(w0, w1, w2, least):
    """Divide weights by their sum, or by ``least`` if that is larger."""
    total = max(w0 + w1 + w2, least)
    return w0 / total, w1 / total, w2 / total


@njit(**EXACT)
def _to_segment(px, py, ax, ay, bx, by, epsilon):
    """Squared distance from p to the segment from a to b, which counts as b if it is too short."""
    ex, ey = bx - ax, by - ay
    length = ex * ex + ey * ey
    if length <= epsilon:
        return (px - bx) * (px - bx) + (py - by) * (py - by)
    foot = min(max((ex * (px - ax) + ey * (py - ay)) / length, ZERO), ONE)
    ox, oy = px - (ax + foot * ex), py - (ay + foot * ey)
    return ox * ox + oy * oy


@njit(**EXACT)
def _to_edges(px, py, x0, y0, x1, y1, x2, y2, epsilon):
    """Squared distances to the edges 0-1, 0-2 and 1-2."""
    d01 = _to_segment(px, py, x0, y0, x1, y1, epsilon)
    d02 = _to_segment(px, py, x0, y0, x2, y2, epsilon)
    return d01, d02, _to_segment(px, py, x1, y1, x2, y2, epsilon)


@njit(**EXACT)
def _finite(z, distance, w0, w1, w2):
    """Whether no value of a fragment is infinite or NaN; the first two are not negative."""
    return (
        z < INFINITY
        and distance < INFINITY
        and abs(w0) < INFINITY
        and abs(w1) < INFINITY
        and abs(w2) < INFINITY
    )


@njit(**EXACT)
def _span(centres, low, high):
    """Half-open range of the falling ``centres`` that lie in [low, high], exactly."""
    count = len(centres)
    if not low <= high:
        return 0, 0
    first = float(centres[0])
    per_unit = (count - 1) / max(first - float(centres[count - 1]), 1e-30)
    begin = int(min(max((first - high) * per_unit, 0.0), float(count)))
    while begin > 0 and centres[begin - 1] <= high:
        begin -= 1
    while begin < count and centres[begin] > high:
        begin += 1
    end = int(min(max((first - low) * per_unit, 0.0), float(count)))
    while end < count and centres[end] >= low:
        end += 1
    while end > begin and centres[end - 1] < low:
        end -= 1
    return begin, end


@njit(**EXACT)
def _border(ax, ay, bx, by, orientation, reach):
    """The line that runs ``reach`` outside of the edge from a to b.

    Returns on which side of it the face lies (1 at larger x, -1 at smaller, 0 if the line is too
    level to tell), its x at y = 0 and its slope, x per y.
    """
    ex, ey = float(bx) - float(ax), float(by) - float(ay)
    length = math.sqrt(ex * ex + ey * ey)
    nx, ny = orientation * ey / length, -orientation * ex / length
    if not abs(nx) > STEEP:
        return 0, 0.0, 0.0
    slope = -ny / nx
    return (1 if nx > 0.0 else -1), ax - reach / nx - slope * ay, slope


@njit(**EXACT)
def _borders(x0, y0, x1, y1, x2, y2, area, reach):
    """All three edges' borders; none of them tells anything if ``reach`` is infinite."""
    orientation = 1.0 if area > ZERO else -1.0
    return (
        _border(x1, y1, x2, y2, orientation, reach),
        _border(x2, y2, x0, y0, orientation, reach),
        _border(x0, y0, x1, y1, orientation, reach),
    )


@njit(**EXACT)
def _narrow(low, high, y, border):
    """Narrow [low, high] to what lies on the face's side of a border."""
    side, offset, slope = border
    x = offset + slope * y
    if side > 0 and x > low:
        return x, high
    if side < 0 and x < high:
        return low, x
    return low, high


@njit(**EXACT)
def _columns(low, high, first_centre, per_unit, begin, end):
    """Narrow the columns begin..end to those whose centre may lie in [low, high]."""
    first, last = float(begin), float(end)
    first = min(max((first_centre - high) * per_unit + (1.0 - PIXEL_MARGIN), first), last)
    last = min(max((first_centre - low) * per_unit + (1.0 + PIXEL_MARGIN), first), last)
    return int(first), int(last)


@njit(**EXACT)
def _clear(begin, end, zbuf, bary, dists, pix_to_face):
    """Empty the fragments begin..end."""
    for k in range(begin, end):
        pix_to_face[k] = -1
        zbuf[k] = MINUS_ONE
        dists[k] = MINUS_ONE
        bary[3 * k] = MINUS_ONE
        bary[3 * k + 1] = MINUS_ONE
        bary[3 * k + 2] = MINUS_ONE


@njit(**EXACT)
def _copy(source, target, zbuf, bary, dists, pix_to_face):
    """Copy one fragment over another."""
    pix_to_face[target] = pix_to_face[source]
    zbuf[target] = zbuf[source]
    dists[target] = dists[source]
    bary[3 * target] = bary[3 * source]
    bary[3 * target + 1] = bary[3 * source + 1]
    bary[3 * target + 2] = bary[3 * source + 2]


@njit(**EXACT)
def _without_other_half(base, count, other, distance, zbuf, bary, dists, pix_to_face):
    """Take the other half of a cut face out of a pixel's list, if it is there and farther away.

    Returns how many fragments remain, or -1 if the new half is to be left out.
    """
    place = base
    while place < base + count and pix_to_face[place] != other:
        place += 1
    if place == base + count:
        return count
    if distance >= abs(dists[place]):
        return -1
    for k in range(place, base + count - 1):
        _copy(k + 1, k, zbuf, bary, dists, pix_to_face)
    return count - 1


@njit(**EXACT)
def rasterize(
    start, stop, band, face_verts, first_face, num_faces, neighbour, xs, ys, constants,
    perspective, clip, cull, slots, zbuf, bary, dists, pix_to_face,
):  # fmt: skip
    """Fill bands start..stop, of ``band`` rows each, of the outputs; these are flat.

    ``constants`` holds the blur radius, EPSILON and CLIP_EPSILON in the precision of the faces.
    """
    height, width = len(ys), len(xs)
    bands = (height + band - 1) // band
    blur, epsilon, clip_epsilon = constants[0], constants[1], constants[2]
    spread = math.sqrt(blur)
    per_unit = 0.5 * min(height, width)
    held = np.empty((band, width), np.int64)
    for item in range(start, stop):
        image, top = item // bands, item % bands * band
        bottom = min(top + band, height)
        corner = (image * height + top) * width * slots
        _clear(corner, corner + (bottom - top) * width * slots, zbuf, bary, dists, pix_to_face)
        held[:] = 0
        for f in range(first_face[image], first_face[image] + num_faces[image]):
            x0, y0, z0 = face_verts[f, 0, 0], face_verts[f, 0, 1], face_verts[f, 0, 2]
            x1, y1, z1 = face_verts[f, 1, 0], face_verts[f, 1, 1], face_verts[f, 1, 2]
            x2, y2, z2 = face_verts[f, 2, 0], face_verts[f, 2, 1], face_verts[f, 2, 2]
            area = _edge(x0, y0, x1, y1, x2, y2)
            if (cull and area < ZERO) or abs(area) <= epsilon or min(z0, z1, z2) < EPSILON:
                continue
            low, high = min(x0, x1, x2) - spread, max(x0, x1, x2) + spread
            lowest, highest = min(y0, y1, y2) - spread, max(y0, y1, y2) + spread
            row0, row1 = _span(ys, lowest, highest)
            row0, row1 = max(row0, top), min(row1, bottom)
            if row0 >= row1:
                continue
            column0, column1 = _span(xs, low, high)
            if column0 >= column1:
                continue
            # Summed in float64, then rounded.
            area = face_verts.dtype.type(_edge(x2, y2, x0, y0, x1, y1) + EPSILON)
            extent = (float(high) - float(low)) * (float(highest) - float(lowest))
            solid = abs(area) > THINNEST + THIN * extent
            reach = spread + MARGIN * max(abs(low), abs(high), abs(lowest), abs(highest))
            border0, border1, border2 = _borders(
                x0, y0, x1, y1, x2, y2, area, reach if solid else INFINITY
            )
            other = neighbour[f]
            for row in range(row0, row1):
                py = ys[row]
                left, right = _narrow(float(low), float(high), py, border0)
                left, right = _narrow(left, right, py, border1)
                left, right = _narrow(left, right, py, border2)
                begin, end = _columns(left, right, xs[0], per_unit, column0, column1)
                for column in range(begin, end):
                    px = xs[column]
                    w0 = _edge(px, py, x1, y1, x2, y2) / area
                    w1 = _edge(px, py, x2, y2, x0, y0) / area
                    w2 = _edge(px, py, x0, y0, x1, y1) / area
                    if perspective:
                        w0, w1, w2 = _shares(w0 * z1 * z2, w1 * z0 * z2, w2 * z0 * z1, epsilon)
                    inside = w0 > ZERO and w1 > ZERO and w2 > ZERO
                    if clip:
                        w0, w1, w2 = max(w0, ZERO), max(w1, ZERO), max(w2, ZERO)
                        w0, w1, w2 = _shares(w0, w1, w2, clip_epsilon)
                    z = w0 * z0 + w1 * z1 + w2 * z2
                    base = ((image * height + row) * width + column) * slots
                    count = held[row - top, column]
                    if z < ZERO or (count == slots and other < 0 and z >= zbuf[base + slots - 1]):
                        continue
                    distance = min(*_to_edges(px, py, x0, y0, x1, y1, x2, y2, epsilon))
                    if not inside and distance >= blur:
                        continue
                    if not _finite(z, distance, w0, w1, w2):
                        continue
                    if other >= 0:
                        count = _without_other_half(
                            base, count, other, distance, zbuf, bary, dists, pix_to_face
                        )
                        if count < 0 or (count == slots and z >= zbuf[base + slots - 1]):
                            continue
                    # After its equals; the last one falls off a full list.
                    k = base + min(count, slots - 1)
                    while k > base and zbuf[k - 1] > z:
                        _copy(k - 1, k, zbuf, bary, dists, pix_to_face)
                        k -= 1
                    pix_to_face[k], zbuf[k] = f, z
                    dists[k] = -distance if inside else distance
                    bary[3 * k], bary[3 * k + 1], bary[3 * k + 2] = w0, w1, w2
                    held[row - top, column] = min(count + 1, slots)


@njit(**EXACT)
def _pull(px, py, ax, ay, bx, by):
    """Gradient of the squared distance from p to the segment a-b, by a and by b."""
    ex, ey = bx - ax, by - ay
    length = ex * ex + ey * ey
    foot = 1.0
    if length > EPSILON:
        foot = min(max((ex * (px - ax) + ey * (py - ay)) / length, 0.0), 1.0)
    else:
        ax, ay, ex, ey = bx, by, 0.0, 0.0
    ox, oy = -2.0 * (px - (ax + foot * ex)), -2.0 * (py - (ay + foot * ey))
    return (1.0 - foot) * ox, (1.0 - foot) * oy, foot * ox, foot * oy


@njit(**EXACT)
def _distance_gradient(px, py, x0, y0, x1, y1, x2, y2):
    """Gradient of the squared distance to the nearest edge, by x and y of all three corners."""
    d01, d02, d12 = _to_edges(px, py, x0, y0, x1, y1, x2, y2, EPSILON)
    if d01 <= d02 and d01 <= d12:
        ax, ay, bx, by = _pull(px, py, x0, y0, x1, y1)
        return ax, ay, bx, by, 0.0, 0.0
    if d02 <= d12:
        ax, ay, bx, by = _pull(px, py, x0, y0, x2, y2)
        return ax, ay, 0.0, 0.0, bx, by
    ax, ay, bx, by = _pull(px, py, x1, y1, x2, y2)
    return 0.0, 0.0, ax, ay, bx, by


@njit(**EXACT)
def _barycentric_gradient(q0, q1, q2, area, g0, g1, g2, perspective, clip):
    """Take the gradient of barycentric coordinates back to the q_i and to the area.

    Returns the coordinates, the gradients of the q_i, and the gradient of the area.
    """
    q0, q1, q2 = q0 / area, q1 / area, q2 / area
    total = q0 + q1 + q2
    divisor = max(total, EPSILON) if perspective else 1.0
    free = perspective and total > EPSILON
    keep0, keep1, keep2 = True, True, True
    if clip:
        keep0, keep1, keep2 = q0 >= 0.0, q1 >= 0.0, q2 >= 0.0
        q0, q1, q2 = max(q0, 0.0), max(q1, 0.0), max(q2, 0.0)
        total = q0 + q1 + q2
        free = total > CLIP_EPSILON * divisor
        divisor = total if free else CLIP_EPSILON * divisor
    b0, b1, b2 = q0 / divisor, q1 / divisor, q2 / divisor
    # Where the divisor is the sum itself, coordinates do not change with the scale of the q_i.
    mean = g0 * b0 + g1 * b1 + g2 * b2 if free else 0.0
    g0 = (g0 - mean) / divisor / area if keep0 else 0.0
    g1 = (g1 - mean) / divisor / area if keep1 else 0.0
    g2 = (g2 - mean) / divisor / area if keep2 else 0.0
    grad_area = 0.0 if free else -(g0 * q0 + g1 * q1 + g2 * q2)
    return b0, b1, b2, g0, g1, g2, grad_area


@njit(**EXACT)
def rasterize_backward(
    start, stop, band, face_verts, first_face, num_faces, offsets, xs, ys, perspective, clip,
    slots, pix_to_face, grad_zbuf, grad_bary, grad_dists, sums,
):  # fmt: skip
    """Fill the sums [band, face of an image, corner and axis] of bands start..stop.

    An image's faces begin at its offset. The maps of fragments are flat.
    """
    height, width = len(ys), len(xs)
    bands = (height + band - 1) // band
    for item in range(start, stop):
        image, part = item // bands, item % bands
        shift = offsets[image] - first_face[image]
        sums[part, offsets[image] : offsets[image] + num_faces[image]] = ZERO
        for row in range(part * band, min(part * band + band, height)):
            for column in range(width):
                base = ((image * height + row) * width + column) * slots
                px, py = float(xs[column]), float(ys[row])
                for k in range(base, base + slots):
                    f = pix_to_face[k]
                    if f < 0:
                        break
                    grad_z, grad_distance = float(grad_zbuf[k]), float(grad_dists[k])
                    g0 = float(grad_bary[3 * k])
                    g1 = float(grad_bary[3 * k + 1])
                    g2 = float(grad_bary[3 * k + 2])
                    bent = grad_z != 0.0 or g0 != 0.0 or g1 != 0.0 or g2 != 0.0
                    if not bent and grad_distance == 0.0:
                        continue
                    x0, y0 = float(face_verts[f, 0, 0]), float(face_verts[f, 0, 1])
                    x1, y1 = float(face_verts[f, 1, 0]), float(face_verts[f, 1, 1])
                    x2, y2 = float(face_verts[f, 2, 0]), float(face_verts[f, 2, 1])
                    z0, z1 = float(face_verts[f, 0, 2]), float(face_verts[f, 1, 2])
                    z2 = float(face_verts[f, 2, 2])
                    e0 = _edge(px, py, x1, y1, x2, y2)
                    e1 = _edge(px, py, x2, y2, x0, y0)
                    e2 = _edge(px, py, x0, y0, x1, y1)
                    area = _edge(x2, y2, x0, y0, x1, y1) + EPSILON
                    into = sums[part, f + shift]
                    if grad_distance != 0.0:
                        if e0 * area > 0.0 and e1 * area > 0.0 and e2 * area > 0.0:
                            grad_distance = -grad_distance
                        ax, ay, bx, by, cx, cy = _distance_gradient(px, py, x0, y0, x1, y1, x2, y2)
                        into[0] += grad_distance * ax
                        into[1] += grad_distance * ay
                        into[3] += grad_distance * bx
                        into[4] += grad_distance * by
                        into[6] += grad_distance * cx
                        into[7] += grad_distance * cy
                    if not bent:
                        continue
                    m0, m1, m2 = 1.0, 1.0, 1.0
                    if perspective:
                        m0, m1, m2 = z1 * z2, z0 * z2, z0 * z1
                    b0, b1, b2, g0, g1, g2, grad_area = _barycentric_gradient(
                        e0 * m0, e1 * m1, e2 * m2, area,
                        g0 + grad_z * z0, g1 + grad_z * z1, g2 + grad_z * z2, perspective, clip,
                    )  # fmt: skip
                    into[2] += grad_z * b0
                    into[5] += grad_z * b1
                    into[8] += grad_z * b2
                    if perspective:
                        into[2] += g1 * e1 * z2 + g2 * e2 * z1
                        into[5] += g0 * e0 * z2 + g2 * e2 * z0
                        into[8] += g0 * e0 * z1 + g1 * e1 * z0
                    g0, g1, g2 = g0 * m0, g1 * m1, g2 * m2
                    # The edge functions run from corner 1 to 2, 2 to 0, and 0 to 1; so does the
                    # area's, whose point is corner 2.
                    into[0] += g1 * (y2 - py) + g2 * (py - y1) + grad_area * (y2 - y1)
                    into[1] += g1 * (px - x2) + g2 * (x1 - px) + grad_area * (x1 - x2)
                    into[3] += g2 * (y0 - py) + g0 * (py - y2) + grad_area * (y0 - y2)
                    into[4] += g2 * (px - x0) + g0 * (x2 - px) + grad_area * (x2 - x0)
                    into[6] += g0 * (y1 - py) + g1 * (py - y0) + grad_area * (y1 - y0)
                    into[7] += g0 * (px - x1) + g1 * (x0 - px) + grad_area * (x0 - x1)


@njit(**EXACT)
def add_bands(grad_face_verts, first_face, num_faces, offsets, sums):
    """Add all bands' sums to the packed faces, always in the same order."""
    for image in range(len(first_face)):
        for face in range(num_faces[image]):
            for part in range(sums.shape[0]):
                for axis in range(9):
                    grad_face_verts[first_face[image] + face, axis] += sums[
                        part, offsets[image] + face, axis
                    ]
