"""Numba kernels of the CPU backend, all in one file because Numba's cache looks no further.

Order-independent accumulation: per pixel the running maximum of z_inv / gamma, the sums of
weights and weighted colours relative to it (rescaled when it grows), and the sum of
log(1 - prob). No lists of fragments; the backward pass recomputes them.

Every kernel works on a range of layers (or scenes) and releases the GIL; a layer belongs to one
call alone, so results do not depend on the number of threads. Constants are float32 and every
literal that meets a float is one of them: a bare literal would promote float32 arithmetic to
float64, while a float32 constant leaves float64 arithmetic as it is.

Under clipping the barycentric coordinates are c_i = max(q_i, 0) / sum max(q_j, 0) with
q_i = E_i z_j z_k (E_i the edge function, of the face's orientation): the area and the perspective
denominator of PyTorch3D's sequence cancel, and with them its noisy gradient.
"""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
MARGIN = np.float32(0.01)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
INFINITY = np.float32(np.inf)
EPSILON = np.float32(1e-8)
MIN_DEPTH = np.float32(1e-3)


@njit(nogil=True, cache=True)
def _edge(px, py, ax, ay, bx, by):
    """Twice the signed area of the triangle (a, b, p)."""
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@njit(nogil=True, cache=True)
def _segment(px, py, ax, ay, bx, by):
    """Squared distance of p to the segment from a to b, and where its foot lies (0 to 1)."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    foot = ONE
    if length > EPSILON:
        foot = ((px - ax) * dx + (py - ay) * dy) / length
        foot = min(max(foot, ZERO), ONE)
    ox, oy = px - ax - foot * dx, py - ay - foot * dy
    return ox * ox + oy * oy, foot


@njit(nogil=True, cache=True)
def _span(low, high, first_centre, step, count):
    """Half-open range of the pixels whose falling centres may lie in [low, high]; none if NaN."""
    first = max((first_centre - high) / step - MARGIN, ZERO)
    last = min((first_centre - low) / step + ONE, np.float32(count - 1))
    if not first <= last:
        return 0, 0
    return int(first), int(last) + 1


@njit(nogil=True, cache=True)
def _corners(vertices, face):
    """The nine coordinates of a face, and its orientation: 0 if it is to be dropped."""
    a, b, c = face[0], face[1], face[2]
    x0, y0, z0 = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    x1, y1, z1 = vertices[b, 0], vertices[b, 1], vertices[b, 2]
    x2, y2, z2 = vertices[c, 0], vertices[c, 1], vertices[c, 2]
    orientation = ZERO
    if z0 >= MIN_DEPTH and z1 >= MIN_DEPTH and z2 >= MIN_DEPTH:
        area = _edge(x2, y2, x0, y0, x1, y1)
        if EPSILON < area < INFINITY:
            orientation = ONE
        elif -INFINITY < area < -EPSILON:
            orientation = -ONE
    return x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation


@njit(nogil=True, cache=True)
def _cover(px, py, x0, y0, x1, y1, x2, y2, orientation, blur):
    """Whether a face reaches a pixel, and how.

    Returns (hit, inside, squared distance to the nearest edge, that edge (0: 01, 1: 12, 2: 20),
    where on it the foot lies, and the three edge functions, positive on the inner side).
    """
    e0 = orientation * _edge(px, py, x1, y1, x2, y2)
    e1 = orientation * _edge(px, py, x2, y2, x0, y0)
    e2 = orientation * _edge(px, py, x0, y0, x1, y1)
    inside = e0 > ZERO and e1 > ZERO and e2 > ZERO
    distance, foot = _segment(px, py, x0, y0, x1, y1)
    edge = 0
    distance1, foot1 = _segment(px, py, x1, y1, x2, y2)
    if distance1 < distance:
        distance, foot, edge = distance1, foot1, 1
    distance2, foot2 = _segment(px, py, x2, y2, x0, y0)
    if distance2 < distance:
        distance, foot, edge = distance2, foot2, 2
    return inside or distance < blur, inside, distance, edge, foot, e0, e1, e2


@njit(nogil=True, cache=True)
def _barycentric(e0, e1, e2, z0, z1, z2):
    """Perspective-correct clipped barycentric coordinates, and the sum that normalised them."""
    q0 = max(e0, ZERO) * z1 * z2
    q1 = max(e1, ZERO) * z0 * z2
    q2 = max(e2, ZERO) * z0 * z1
    total = q0 + q1 + q2
    if not total > ZERO:
        return ZERO * q0, ZERO * q0, ZERO * q0, ZERO * q0
    return q0 / total, q1 / total, q2 / total, total


@njit(nogil=True, cache=True)
def _coverage(signed):
    """sigmoid(signed) and log(1 - sigmoid(signed))."""
    tail = math.exp(-abs(signed))
    if signed >= ZERO:
        return ONE / (ONE + tail), -signed - math.log1p(tail)
    return tail / (ONE + tail), -math.log1p(tail)


@njit(nogil=True, cache=True)
def rasterise(
    start, stop, vertices, colours, faces, num_faces, mesh, xs, ys, settings,
    colour, log_weight, log_transmittance,
):  # fmt: skip
    """Fill layers start..stop of the three output maps.

    ``settings`` holds sigma, blur radius, gamma, far, and far - near.
    """
    height, width = len(ys), len(xs)
    step = TWO / np.float32(min(height, width))
    sigma, blur, gamma = settings[0], settings[1], settings[2]
    far, depth_range = settings[3], settings[4]
    reach = math.sqrt(blur)
    total_weight = np.zeros((height, width), vertices.dtype)
    for layer in range(start, stop):
        colour[layer] = ZERO
        log_weight[layer] = -INFINITY
        log_transmittance[layer] = ZERO
        count = num_faces[mesh[layer]] if mesh[layer] >= 0 else 0
        top, bottom, left, right = height, 0, width, 0
        for f in range(count):
            face = faces[mesh[layer], f]
            x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation = _corners(vertices[layer], face)
            if orientation == ZERO:
                continue
            column0, column1 = _span(
                min(x0, x1, x2) - reach, max(x0, x1, x2) + reach, xs[0], step, width
            )
            row0, row1 = _span(
                min(y0, y1, y2) - reach, max(y0, y1, y2) + reach, ys[0], step, height
            )
            if column0 == column1 or row0 == row1:
                continue
            top, bottom = min(top, row0), max(bottom, row1)
            left, right = min(left, column0), max(right, column1)
            k0, k1, k2 = colours[layer, face[0]], colours[layer, face[1]], colours[layer, face[2]]
            for row in range(row0, row1):
                for column in range(column0, column1):
                    hit, inside, distance, _, _, e0, e1, e2 = _cover(
                        xs[column], ys[row], x0, y0, x1, y1, x2, y2, orientation, blur
                    )
                    if not hit:
                        continue
                    b0, b1, b2, total = _barycentric(e0, e1, e2, z0, z1, z2)
                    if not total > ZERO:
                        continue
                    signed = (distance if inside else -distance) / sigma
                    probability, log_miss = _coverage(signed)
                    log_transmittance[layer, row, column] += log_miss
                    nearness = (far - (b0 * z0 + b1 * z1 + b2 * z2)) / depth_range / gamma
                    ahead = nearness - log_weight[layer, row, column]
                    if ahead > ZERO:
                        rescale = math.exp(-ahead)
                        log_weight[layer, row, column] = nearness
                        total_weight[row, column] *= rescale
                        for channel in range(3):
                            colour[layer, row, column, channel] *= rescale
                        weight = probability
                    else:
                        weight = probability * math.exp(ahead)
                    total_weight[row, column] += weight
                    for channel in range(3):
                        colour[layer, row, column, channel] += weight * (
                            b0 * k0[channel] + b1 * k1[channel] + b2 * k2[channel]
                        )
        for row in range(top, bottom):
            for column in range(left, right):
                weight = total_weight[row, column]
                if weight > ZERO:
                    total_weight[row, column] = ZERO
                    log_weight[layer, row, column] += math.log(weight)
                    for channel in range(3):
                        colour[layer, row, column, channel] /= weight


@njit(nogil=True, cache=True)
def rasterise_backward(
    start, stop, vertices, colours, faces, num_faces, mesh, xs, ys, settings,
    colour, log_weight, grad_colour, grad_log_weight, grad_log_transmittance,
    grad_vertices, grad_colours,
):  # fmt: skip
    """Fill layers start..stop of the gradients of vertices and colours."""
    height, width = len(ys), len(xs)
    step = TWO / np.float32(min(height, width))
    sigma, blur, gamma = settings[0], settings[1], settings[2]
    far, depth_range = settings[3], settings[4]
    reach = math.sqrt(blur)
    corner_grad = np.zeros((3, 3), vertices.dtype)
    colour_grad = np.zeros((3, 3), vertices.dtype)
    for layer in range(start, stop):
        grad_vertices[layer] = ZERO
        grad_colours[layer] = ZERO
        count = num_faces[mesh[layer]] if mesh[layer] >= 0 else 0
        for f in range(count):
            face = faces[mesh[layer], f]
            x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation = _corners(vertices[layer], face)
            if orientation == ZERO:
                continue
            column0, column1 = _span(
                min(x0, x1, x2) - reach, max(x0, x1, x2) + reach, xs[0], step, width
            )
            row0, row1 = _span(
                min(y0, y1, y2) - reach, max(y0, y1, y2) + reach, ys[0], step, height
            )
            k0, k1, k2 = colours[layer, face[0]], colours[layer, face[1]], colours[layer, face[2]]
            corner_grad[:] = ZERO
            colour_grad[:] = ZERO
            for row in range(row0, row1):
                for column in range(column0, column1):
                    px, py = xs[column], ys[row]
                    hit, inside, distance, edge, foot, e0, e1, e2 = _cover(
                        px, py, x0, y0, x1, y1, x2, y2, orientation, blur
                    )
                    if not hit:
                        continue
                    b0, b1, b2, total = _barycentric(e0, e1, e2, z0, z1, z2)
                    if not total > ZERO:
                        continue
                    signed = (distance if inside else -distance) / sigma
                    probability, _ = _coverage(signed)
                    nearness = (far - (b0 * z0 + b1 * z1 + b2 * z2)) / depth_range / gamma
                    share = probability * math.exp(nearness - log_weight[layer, row, column])
                    grad_share = grad_log_weight[layer, row, column]
                    grad_b0 = ZERO * px
                    grad_b1 = ZERO * px
                    grad_b2 = ZERO * px
                    for channel in range(3):
                        upstream = grad_colour[layer, row, column, channel]
                        own = b0 * k0[channel] + b1 * k1[channel] + b2 * k2[channel]
                        grad_share += upstream * (own - colour[layer, row, column, channel])
                        upstream *= share
                        grad_b0 += upstream * k0[channel]
                        grad_b1 += upstream * k1[channel]
                        grad_b2 += upstream * k2[channel]
                        colour_grad[0, channel] += upstream * b0
                        colour_grad[1, channel] += upstream * b1
                        colour_grad[2, channel] += upstream * b2
                    grad_share *= share
                    # Depth.
                    grad_z = -grad_share / (depth_range * gamma)
                    grad_b0 += grad_z * z0
                    grad_b1 += grad_z * z1
                    grad_b2 += grad_z * z2
                    # Normalisation of q, then q_i = e_i z_j z_k where e_i is positive.
                    mean = grad_b0 * b0 + grad_b1 * b1 + grad_b2 * b2
                    grad_q0 = (grad_b0 - mean) / total if e0 > ZERO else ZERO * px
                    grad_q1 = (grad_b1 - mean) / total if e1 > ZERO else ZERO * px
                    grad_q2 = (grad_b2 - mean) / total if e2 > ZERO else ZERO * px
                    corner_grad[0, 2] += grad_z * b0 + grad_q1 * e1 * z2 + grad_q2 * e2 * z1
                    corner_grad[1, 2] += grad_z * b1 + grad_q0 * e0 * z2 + grad_q2 * e2 * z0
                    corner_grad[2, 2] += grad_z * b2 + grad_q0 * e0 * z1 + grad_q1 * e1 * z0
                    # Edge functions: e0 runs from corner 1 to 2, e1 from 2 to 0, e2 from 0 to 1.
                    g0 = orientation * grad_q0 * z1 * z2
                    g1 = orientation * grad_q1 * z0 * z2
                    g2 = orientation * grad_q2 * z0 * z1
                    grad_x0 = g1 * (y2 - py) + g2 * (py - y1)
                    grad_y0 = g1 * (px - x2) + g2 * (x1 - px)
                    grad_x1 = g2 * (y0 - py) + g0 * (py - y2)
                    grad_y1 = g2 * (px - x0) + g0 * (x2 - px)
                    grad_x2 = g0 * (y1 - py) + g1 * (py - y0)
                    grad_y2 = g0 * (px - x1) + g1 * (x0 - px)
                    # Distance to the nearest edge; by the envelope theorem its foot is a constant.
                    grad_distance = (
                        grad_share * (ONE - probability)
                        - grad_log_transmittance[layer, row, column] * probability
                    ) / sigma
                    pull = -TWO * (grad_distance if inside else -grad_distance)
                    rest = ONE - foot
                    if edge == 0:
                        ox, oy = px - rest * x0 - foot * x1, py - rest * y0 - foot * y1
                        grad_x0 += pull * rest * ox
                        grad_y0 += pull * rest * oy
                        grad_x1 += pull * foot * ox
                        grad_y1 += pull * foot * oy
                    elif edge == 1:
                        ox, oy = px - rest * x1 - foot * x2, py - rest * y1 - foot * y2
                        grad_x1 += pull * rest * ox
                        grad_y1 += pull * rest * oy
                        grad_x2 += pull * foot * ox
                        grad_y2 += pull * foot * oy
                    else:
                        ox, oy = px - rest * x2 - foot * x0, py - rest * y2 - foot * y0
                        grad_x2 += pull * rest * ox
                        grad_y2 += pull * rest * oy
                        grad_x0 += pull * foot * ox
                        grad_y0 += pull * foot * oy
                    corner_grad[0, 0] += grad_x0
                    corner_grad[0, 1] += grad_y0
                    corner_grad[1, 0] += grad_x1
                    corner_grad[1, 1] += grad_y1
                    corner_grad[2, 0] += grad_x2
                    corner_grad[2, 1] += grad_y2
            for corner in range(3):
                for axis in range(3):
                    grad_vertices[layer, face[corner], axis] += corner_grad[corner, axis]
                    grad_colours[layer, face[corner], axis] += colour_grad[corner, axis]


@njit(nogil=True, cache=True)
def depth(start, stop, vertices, faces, num_faces, mesh, xs, ys, out):
    """Fill layers start..stop with the depth of the nearest face at each pixel centre."""
    height, width = len(ys), len(xs)
    step = TWO / np.float32(min(height, width))
    for layer in range(start, stop):
        out[layer] = INFINITY
        count = num_faces[mesh[layer]] if mesh[layer] >= 0 else 0
        for f in range(count):
            x0, y0, z0, x1, y1, z1, x2, y2, z2, orientation = _corners(
                vertices[layer], faces[mesh[layer], f]
            )
            if orientation == ZERO:
                continue
            column0, column1 = _span(min(x0, x1, x2), max(x0, x1, x2), xs[0], step, width)
            row0, row1 = _span(min(y0, y1, y2), max(y0, y1, y2), ys[0], step, height)
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


@njit(nogil=True, cache=True)
def composite(
    start, stop, selection, background, colour, log_weight, log_transmittance, rgb, alpha
):
    """Fill scenes start..stop with their images: pixels of all maps are in one dimension."""
    images, slots = selection.shape
    pixels = log_weight.shape[2]
    for scene in range(start, stop):
        for image in range(images):
            for pixel in range(pixels):
                largest, transmittance = -INFINITY, ZERO
                for slot in range(slots):
                    layer = selection[image, slot]
                    if layer >= 0:
                        largest = max(largest, log_weight[scene, layer, pixel])
                        transmittance += log_transmittance[scene, layer, pixel]
                if largest == -INFINITY:
                    alpha[scene, image, pixel] = ZERO
                    for channel in range(3):
                        rgb[scene, image, pixel, channel] = background[channel]
                    continue
                total, red, green, blue = ZERO, ZERO, ZERO, ZERO
                for slot in range(slots):
                    layer = selection[image, slot]
                    if layer < 0 or log_weight[scene, layer, pixel] == -INFINITY:
                        continue
                    weight = math.exp(log_weight[scene, layer, pixel] - largest)
                    total += weight
                    red += weight * colour[scene, layer, pixel, 0]
                    green += weight * colour[scene, layer, pixel, 1]
                    blue += weight * colour[scene, layer, pixel, 2]
                opacity = -math.expm1(transmittance)
                alpha[scene, image, pixel] = opacity
                scale = opacity / total
                clear = ONE - opacity
                rgb[scene, image, pixel, 0] = red * scale + background[0] * clear
                rgb[scene, image, pixel, 1] = green * scale + background[1] * clear
                rgb[scene, image, pixel, 2] = blue * scale + background[2] * clear


@njit(nogil=True, cache=True)
def composite_backward(
    start, stop, selection, background, colour, log_weight, log_transmittance,
    grad_rgb, grad_alpha,
    grad_colour, grad_log_weight, grad_log_transmittance, grad_background,
):  # fmt: skip
    """Fill scenes start..stop of the gradients; that of the background is one row per scene."""
    images, slots = selection.shape
    pixels = log_weight.shape[2]
    mean = np.zeros(3, colour.dtype)
    for scene in range(start, stop):
        grad_colour[scene] = ZERO
        grad_log_weight[scene] = ZERO
        grad_log_transmittance[scene] = ZERO
        grad_background[scene] = 0.0
        for image in range(images):
            for pixel in range(pixels):
                largest, transmittance = -INFINITY, ZERO
                for slot in range(slots):
                    layer = selection[image, slot]
                    if layer >= 0:
                        largest = max(largest, log_weight[scene, layer, pixel])
                        transmittance += log_transmittance[scene, layer, pixel]
                clear = math.exp(transmittance)
                for channel in range(3):
                    grad_background[scene, channel] += clear * grad_rgb[scene, image, pixel, channel]
                if largest == -INFINITY:
                    continue
                total = ZERO
                mean[:] = ZERO
                for slot in range(slots):
                    layer = selection[image, slot]
                    if layer < 0 or log_weight[scene, layer, pixel] == -INFINITY:
                        continue
                    weight = math.exp(log_weight[scene, layer, pixel] - largest)
                    total += weight
                    for channel in range(3):
                        mean[channel] += weight * colour[scene, layer, pixel, channel]
                opacity = ONE - clear
                grad_opacity = grad_alpha[scene, image, pixel]
                for channel in range(3):
                    mean[channel] /= total
                    grad_opacity += grad_rgb[scene, image, pixel, channel] * (
                        mean[channel] - background[channel]
                    )
                for slot in range(slots):
                    layer = selection[image, slot]
                    if layer < 0 or log_weight[scene, layer, pixel] == -INFINITY:
                        continue
                    share = math.exp(log_weight[scene, layer, pixel] - largest) / total * opacity
                    for channel in range(3):
                        upstream = share * grad_rgb[scene, image, pixel, channel]
                        grad_colour[scene, layer, pixel, channel] += upstream
                        grad_log_weight[scene, layer, pixel] += upstream * (
                            colour[scene, layer, pixel, channel] - mean[channel]
                        )
                    grad_log_transmittance[scene, layer, pixel] -= clear * grad_opacity
