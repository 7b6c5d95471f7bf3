"""Numba kernels that trace the ground's pixels; see ``layer_kernels`` for their common rules.

Images are cut into bands of rows. A scene's parameters are one row of ``params``, in the order of
the constants below; their gradients are summed over a row in the precision at hand and over the
rows of a band in float64. Divisions are not checked for zero (no divisor can be).
"""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
INFINITY = np.float32(np.inf)
TINY = np.float32(1e-12)
# As in reference_ground.
MIN_DESCENT = np.float32(2.0**-10)
FAR_INSIDE = np.float32(4.0)
SHARPEST = np.float32(2.0**-13)
# Where coverage differs from 1 by exp(-50), or light that passes by so much from none.
OPAQUE = np.float32(50.0)
# Where parameters lie: three functions of the place, the drop, the lamp, the four shades, and as
# many edges as there are, again functions of the place.
DESCENT, PLANE_X, PLANE_Y, DROP, LAMP, SHADES, EDGES = 0, 3, 6, 9, 10, 14, 26


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _affine(params, at, left, up):
    """An affine function of the place in the image."""
    return params[at] + params[at + 1] * left + params[at + 2] * up


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _nearest_edge(params, left, up):
    """Signed distance to the nearest edge, no larger than matters, and where its function lies."""
    signed, nearest = FAR_INSIDE, 0
    for edge in range(EDGES, len(params), 3):
        distance = _affine(params, edge, left, up)
        if distance < signed:
            signed, nearest = distance, edge
    return signed, nearest


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _sign(value):
    """1, 0 or -1."""
    return ONE if value > ZERO else (-ONE if value < ZERO else ZERO)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _stripes(params, axis, place, scale, squares):
    """Stripes of 1 and -1 along an axis, averaged over a pixel's footprint.

    ``scale``: a pixel's side over a square's and over the descent; ``squares``: how many there are
    in a metre. Returns the mean and its derivatives by the place and by the footprint's width.
    """
    step_left = params[axis + 1] - params[DESCENT + 1] * place
    step_up = params[axis + 2] - params[DESCENT + 2] * place
    width = max((abs(step_left) + abs(step_up)) * scale, SHARPEST)
    after, before = place * squares + HALF * width, place * squares - HALF * width
    after -= TWO * np.floor(HALF * after + HALF)
    before -= TWO * np.floor(HALF * before + HALF)
    end, start = _sign(after), _sign(before)
    if end == start and width < ONE:
        return end, ZERO, ZERO
    sharpness = ONE / width
    mean = (abs(after) - abs(before)) * sharpness
    by_width = (HALF * (end + start) - mean) * sharpness if width > SHARPEST else ZERO
    return mean, (end - start) * sharpness * squares, by_width


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _lamp_distance(params, x, y):
    """Where the lamp is, seen from a place on the plane, and one over its distance."""
    dx = params[LAMP] - params[LAMP + 3] * x
    dy = params[LAMP + 1] - params[LAMP + 3] * y
    dz = params[LAMP + 2]
    return dx, dy, ONE / math.sqrt(dx * dx + dy * dy + dz * dz + TINY)


@njit(nogil=True, cache=True, error_model="numpy")
def trace(start, stop, params, lefts, ups, band, settings, maps):
    """Fill bands start..stop of the ``maps``: colour, log-weight, log-transmittance and depth.

    ``band``: how many rows make one. ``settings``: 1 / sigma, how far edges reach, z_inv / gamma
    at depth 0 and its fall per metre, a pixel's side (NDC), how many squares
    there are in a metre, 0 without any.
    """
    colour, log_weight, log_transmittance, depth = maps
    inv_sigma, reach, nearness, fall = settings[0], settings[1], settings[2], settings[3]
    pixel, squares = settings[4], settings[5]
    bands = (len(ups) + band - 1) // band
    for item in range(start, stop):
        scene, first = item // bands, item % bands * band
        own = params[scene]
        for row in range(first, min(first + band, len(ups))):
            for column in range(len(lefts)):
                left, up = lefts[column], ups[row]
                signed, _ = _nearest_edge(own, left, up)
                if not signed > -reach:
                    colour[scene, row, column, 0] = ZERO
                    colour[scene, row, column, 1] = ZERO
                    colour[scene, row, column, 2] = ZERO
                    log_weight[scene, row, column] = -INFINITY
                    log_transmittance[scene, row, column] = ZERO
                    depth[scene, row, column] = ZERO
                    continue
                inverse = ONE / max(_affine(own, DESCENT, left, up), MIN_DESCENT)
                x = _affine(own, PLANE_X, left, up) * inverse
                y = _affine(own, PLANE_Y, left, up) * inverse
                covered = signed * abs(signed) * inv_sigma
                missed = max(covered, ZERO)
                if abs(covered) < OPAQUE:
                    missed += math.log1p(math.exp(-abs(covered)))
                depth[scene, row, column] = own[DROP] * inverse
                log_transmittance[scene, row, column] = -missed
                log_weight[scene, row, column] = (
                    covered - missed + nearness - fall * own[DROP] * inverse
                )
                _, _, closeness = _lamp_distance(own, x, y)
                facing = max(own[LAMP + 2], ZERO) * closeness
                pattern = ZERO
                if squares > ZERO:
                    scale = inverse * pixel * squares
                    pattern = _stripes(own, PLANE_X, x, scale, squares)[0]
                    pattern *= _stripes(own, PLANE_Y, y, scale, squares)[0]
                for channel in range(3):
                    at = SHADES + channel
                    colour[scene, row, column, channel] = (
                        own[at]
                        + facing * own[at + 3]
                        + pattern * (own[at + 6] + facing * own[at + 9])
                    )


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _width_backward(params, sums, axis, place, scale, upstream):
    """Add the gradient of a footprint's width, but for that through the descent.

    Returns the gradients of the place and of the width's logarithm.
    """
    step_left = params[axis + 1] - params[DESCENT + 1] * place
    step_up = params[axis + 2] - params[DESCENT + 2] * place
    by_left, by_up = upstream * scale * _sign(step_left), upstream * scale * _sign(step_up)
    sums[axis + 1] += by_left
    sums[axis + 2] += by_up
    sums[DESCENT + 1] -= by_left * place
    sums[DESCENT + 2] -= by_up * place
    width = (abs(step_left) + abs(step_up)) * scale
    return -by_left * params[DESCENT + 1] - by_up * params[DESCENT + 2], upstream * width


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _affine_backward(sums, at, left, up, upstream):
    """Add the gradient of an affine function of the place."""
    sums[at] += upstream
    sums[at + 1] += upstream * left
    sums[at + 2] += upstream * up


@njit(nogil=True, cache=True, error_model="numpy")
def trace_backward(start, stop, params, lefts, ups, band, settings, upstream, grad_params):
    """Fill rows start..stop of ``grad_params``, float64, one per band; ``upstream`` as ``maps``."""
    grad_colour, grad_log_weight, grad_log_transmittance, grad_depth = upstream
    inv_sigma, reach, fall = settings[0], settings[1], settings[3]
    pixel, squares = settings[4], settings[5]
    bands = (len(ups) + band - 1) // band
    sums = np.zeros(params.shape[1], params.dtype)
    for item in range(start, stop):
        scene, first = item // bands, item % bands * band
        own = params[scene]
        grad_params[item] = ZERO
        for row in range(first, min(first + band, len(ups))):
            sums[:] = ZERO
            for column in range(len(lefts)):
                left, up = lefts[column], ups[row]
                signed, edge = _nearest_edge(own, left, up)
                if not signed > -reach:
                    continue
                descent = _affine(own, DESCENT, left, up)
                inverse = ONE / max(descent, MIN_DESCENT)
                x = _affine(own, PLANE_X, left, up) * inverse
                y = _affine(own, PLANE_Y, left, up) * inverse
                by_weight = grad_log_weight[scene, row, column]
                covered = signed * abs(signed) * inv_sigma
                if edge > 0 and abs(covered) < OPAQUE:
                    tail = math.exp(-abs(covered))
                    probability = (ONE if covered > ZERO else tail) / (ONE + tail)
                    by_covered = by_weight * (ONE - probability)
                    by_covered -= probability * grad_log_transmittance[scene, row, column]
                    by_signed = TWO * abs(signed) * inv_sigma * by_covered
                    _affine_backward(sums, edge, left, up, by_signed)
                elif edge > 0 and covered > ZERO:
                    by_signed = -TWO * signed * inv_sigma
                    by_signed *= grad_log_transmittance[scene, row, column]
                    _affine_backward(sums, edge, left, up, by_signed)
                by_depth = grad_depth[scene, row, column] - fall * by_weight
                sums[DROP] += by_depth * inverse
                by_inverse = by_depth * own[DROP]
                dx, dy, closeness = _lamp_distance(own, x, y)
                above = max(own[LAMP + 2], ZERO)
                facing = above * closeness
                scale = inverse * pixel * squares
                along_x, along_y = ZERO, ZERO
                place_x, place_y, width_x, width_y = ZERO, ZERO, ZERO, ZERO
                if squares > ZERO:
                    along_x, place_x, width_x = _stripes(own, PLANE_X, x, scale, squares)
                    along_y, place_y, width_y = _stripes(own, PLANE_Y, y, scale, squares)
                pattern = along_x * along_y
                by_facing, by_pattern = ZERO, ZERO
                for channel in range(3):
                    at, gradient = SHADES + channel, grad_colour[scene, row, column, channel]
                    by_facing += gradient * (own[at + 3] + pattern * own[at + 9])
                    by_pattern += gradient * (own[at + 6] + facing * own[at + 9])
                    sums[at] += gradient
                    sums[at + 3] += gradient * facing
                    sums[at + 6] += gradient * pattern
                    sums[at + 9] += gradient * pattern * facing
                # facing = above / distance to the lamp
                pull = -by_facing * facing * closeness * closeness
                sums[LAMP] += pull * dx
                sums[LAMP + 1] += pull * dy
                sums[LAMP + 3] -= pull * (dx * x + dy * y)
                if above > ZERO:
                    sums[LAMP + 2] += by_facing * closeness + pull * above
                by_x, by_y = -pull * dx * own[LAMP + 3], -pull * dy * own[LAMP + 3]
                by_x += by_pattern * along_y * place_x
                by_y += by_pattern * along_x * place_y
                by_log_inverse = by_inverse * inverse
                if width_x != ZERO:
                    more, by_log_width = _width_backward(
                        own, sums, PLANE_X, x, scale, by_pattern * along_y * width_x
                    )
                    by_x += more
                    by_log_inverse += by_log_width
                if width_y != ZERO:
                    more, by_log_width = _width_backward(
                        own, sums, PLANE_Y, y, scale, by_pattern * along_x * width_y
                    )
                    by_y += more
                    by_log_inverse += by_log_width
                _affine_backward(sums, PLANE_X, left, up, by_x * inverse)
                _affine_backward(sums, PLANE_Y, left, up, by_y * inverse)
                if descent > MIN_DESCENT:
                    # x and y are also their functions times the inverse of the descent.
                    by_log_inverse += by_x * x + by_y * y
                    _affine_backward(sums, DESCENT, left, up, -by_log_inverse * inverse)
            for place in range(len(sums)):
                grad_params[item, place] += sums[place]
