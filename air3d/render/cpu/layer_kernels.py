"""Numba kernels that rasterize meshes softly into layers, all faces of a mesh into one layer.

Order-independent accumulation: per pixel the running maximum of z_inv / gamma, the sums of
weights and weighted colours relative to it (rescaled when it grows), and the product of
1 - prob. There are no lists of fragments; the backward pass recomputes them.

Faces go through in batches of LANES: ``_gather`` picks those that matter, ``_set_up`` prepares
them all at once, then each goes over the tiles of LANES pixels that it may reach. The loops over
LANES have no branches, and address one array at constant distances, as only then LLVM makes
vector instructions of loops this short. A face of the usual ten pixels fills tiles better than
rows.

Every kernel releases the GIL and works on a range of items, each a band of rows of one layer,
which belongs to one call alone; so results do not depend on the number of threads. Constants are
float32 and literals that meet a float are among them: a bare literal would promote float32
arithmetic to float64, while a float32 constant leaves float64 arithmetic as it is. No kernel calls
one of another file, as Numba's cache would not notice when that changes. What is not asked for is
None, a type of its own: Numba compiles kernels that know nothing of it.

Textures are looked up pixel by pixel, as neighbours on an image are none in memory, just before a
face goes over a tile, and only where it is not hidden; the tile then holds what its pixels show.
Their gradients are sums over all layers, so each call adds to sums of its own.

Under clipping the barycentric coordinates are c_i = max(q_i, 0) / sum max(q_j, 0) with
q_i = E_i z_j z_k (E_i the edge function): the area and the perspective denominator of PyTorch3D's
sequence cancel, and with them its noisy gradient.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

ZERO = np.float32(0.0)
TINY = np.float32(1e-30)
MARGIN = np.float32(0.01)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)
EPSILON = np.float32(1e-8)
MIN_DEPTH = np.float32(1e-3)
MAX_DEPTH = np.float32(1e6)
# A face that is wider than this many images has lost its shape to rounding.
HUGE = np.float32(1e9)
# What stands for -inf where two of them may be subtracted.
LOWEST = np.float32(-1e30)
# A weight of exp(-50) of what lies in front adds nothing, in float64 either, and keeps all products
# far from denormal numbers, which took half of the forward pass.
HIDDEN = np.float32(-50.0)
# Above 9.2, the logarithm of (1 - prob) / prob at the blur radius.
FAINT = np.float32(10.0)
# A tile is WIDE x HIGH pixels. Eight lanes suit 256-bit vectors, the widest that LLVM uses on most
# machines; sixteen are 5 % faster where it uses 512-bit ones, and 40 % slower elsewhere.
WIDE, HIGH = 4, 2
LANES = WIDE * HIGH
# Half a tile's diagonal in pixels, rounded up.
RADIUS = np.float32(math.hypot(WIDE - 1, HIGH - 1) / 2 * 1.01)

# Where a tile's accumulators begin: the product of 1 - prob, the running maximum, the sums.
CLEAR, NEAREST, WEIGHT, RED, GREEN, BLUE, TILE = (LANES * k for k in range(7))
# And where that of the depth begins, if it is asked for.
DEPTH, DEEP_TILE = TILE, TILE + LANES
# In the backward pass, where what its pixels pass down begins: the gradients of the colours, of
# the log-weight (less what the means take of it) and of the log-transmittance.
UP_RED, UP_GREEN, UP_BLUE, UP_WEIGHT, LOG_WEIGHT, UP_CLEAR = (LANES * k for k in range(6))
# And behind that, a face's gradients from this tile: place and colour of its three corners.
(
    DX0, DY0, DZ0, DR0, DG0, DB0, DX1, DY1, DZ1, DR1, DG1, DB1, DX2, DY2, DZ2, DR2, DG2, DB2,
    WIDE_TILE,
) = (TILE + LANES * k for k in range(19))  # fmt: skip
SUMS = WIDE_TILE - TILE
# Then those of the corners' places on a texture, and what comes from above of the depth.
DS0, DT0, DS1, DT1, DS2, DT2, UP_DEPTH, WIDE_DEEP_TILE = (WIDE_TILE + LANES * k for k in range(8))
ALL_SUMS = UP_DEPTH - TILE
# Behind all that, where there are textures, what its pixels show of one: the place on it, in texels
# from its upper left one's middle; the face's nearness; the texel, and how it changes to the right
# and downward; and in the backward pass the texel's gradient.
(
    ACROSS, DOWN, LEAD, TEX_RED, TEX_GREEN, TEX_BLUE, RIGHT_RED, RIGHT_GREEN, RIGHT_BLUE,
    DOWN_RED, DOWN_GREEN, DOWN_BLUE, TEXELS,
) = (LANES * k for k in range(13))  # fmt: skip
UP_TEXEL, WIDE_TEXELS = TEXELS, TEXELS + 3 * LANES
# Where a batch's quantities begin, one value per face. X0 and Y0 are the place of corner 0 on the
# image; corners 1 and 2 are relative to it. Edge i lies opposite corner i and runs on from corner
# i + 1; T is its unit vector, L its length, I = 1 / L, P_i = 1 / z_i, Q_i = z_j z_k, M = L Q.
# HEIGHT and START say where corner 0 lies over and along edge 0; then come the tiles in reach, and
# the corners' places S, T on a texture.
(
    X0, Y0, Z0, X1, Y1, Z1, X2, Y2, Z2, R0, G0, B0, R1, G1, B1, R2, G2, B2,
    TX0, TY0, L0, I0, M0, P0, Q0, TX1, TY1, L1, I1, M1, P1, Q1, TX2, TY2, L2, I2, M2, P2, Q2,
    HEIGHT, START, TOP, BOTTOM, LEFT, RIGHT, S0, T0, S1, T1, S2, T2, BATCH,
) = (LANES * k for k in range(52))  # fmt: skip

# Contraction to fused multiply-adds changes the last digit alone, and nothing about inf or NaN;
# without Python's checks for zero divisors divisions become vectors too.
FAST = {"nogil": True, "cache": True, "error_model": "numpy", "fastmath": {"contract"}}
# A real call counts its arrays' references by atomic operations, which slow the threads down.
INLINE = {**FAST, "forceinline": True}


def _exp(x):
    """e to the x, for x from -80 to 80."""
    raise NotImplementedError("for kernels alone")


@overload(_exp, jit_options={"error_model": "numpy", "fastmath": {"contract"}})
def _implement_exp(x):
    """In x's precision: x = n log 2 + r, and exp(r) by a polynomial whose exponent grows by n.

    LLVM makes vectors of this, unlike of math.exp: 0.4 against 2.9 ns each. Its error is that of
    rounding x.
    """
    single = x == types.float32
    real, integer, digits = (np.float32, np.int32, 23) if single else (np.float64, np.int64, 52)
    # Equal to exp at the Chebyshev nodes of +-log(2) / 2, and to 1e-7 or 3e-16 between them.
    count = 6 if single else 12
    nodes = 0.5 * math.log(2.0) * np.cos(math.pi * (np.arange(count) + 0.5) / count)
    powers = np.linalg.solve(np.vander(nodes), np.exp(nodes))
    # Highest first; two half as long chains of multiply-adds, which run side by side.
    odds = tuple(real(power) for power in powers[0::2])
    evens = tuple(real(power) for power in powers[1::2])
    per_octave, octave, shift = real(1.0 / math.log(2.0)), real(math.log(2.0)), integer(digits)
    # Added to a number it rounds that to whole ones, which then are the last bits of the sum.
    rounder = real(1.5 * 2.0**digits)

    def exp(x):
        rounded = x * per_octave + rounder
        r = x - (rounded - rounder) * octave
        odd, even = odds[0], evens[0]
        for k in range(1, len(odds)):
            odd, even = odd * (r * r) + odds[k], even * (r * r) + evens[k]
        exponent = real(rounded).view(integer) << shift
        return integer(real(odd * r + even).view(integer) + exponent).view(real)

    return exp


@njit(**INLINE)
def _tiles(low, high, first_centre, last_centre, step, side):
    """Half-open range of the tiles whose falling centres may lie in [low, high], as some must."""
    first = (first_centre - min(high, first_centre)) / step + (ONE - MARGIN)
    last = (first_centre - max(low, last_centre)) / step + MARGIN
    return np.int32(first / side), np.int32(last / side) + np.int32(1)


@njit(**INLINE)
def _rectangle(vertices, layer, xs, ys, row0, row1, reach, step):
    """The band's tiles that a mesh may reach: top, bottom, left, right.

    A vertex beyond all numbers is left out, as its faces are: NaN would empty the rectangle, and
    then nothing would be written where other faces reach.
    """
    low_x, high_x, low_y, high_y = INFINITY, -INFINITY, INFINITY, -INFINITY
    for v in range(vertices.shape[1]):
        x, y = vertices[layer, v, 0], vertices[layer, v, 1]
        if vertices[layer, v, 2] >= MIN_DEPTH and abs(x) < INFINITY and abs(y) < INFINITY:
            low_x, high_x = min(x - reach, low_x), max(x + reach, high_x)
            low_y, high_y = min(y - reach, low_y), max(y + reach, high_y)
    if low_x <= xs[0] and high_x >= xs[-1] and low_y <= ys[row0] and high_y >= ys[row1 - 1]:
        top, bottom = _tiles(low_y, high_y, ys[row0], ys[row1 - 1], step, np.float32(HIGH))
        left, right = _tiles(low_x, high_x, xs[0], xs[-1], step, np.float32(WIDE))
        return top, bottom, left, right
    return np.int32(0), np.int32(0), np.int32(0), np.int32(0)


@njit(**INLINE)
def _steps(paint, m):
    """From the middle of a texture's first texel to that of its last, in rows and columns."""
    _, _, sizes = paint
    return np.float32(sizes[m, 0] - 1), np.float32(sizes[m, 1] - 1)


@njit(**INLINE)
def _place(paint, m, vertex):
    """A vertex's place on its mesh's texture, to the right and down, in texels."""
    uvs, _, _ = paint
    rows, columns = _steps(paint, m)
    right, down = uvs[m, vertex, 0] * columns, (ONE - uvs[m, vertex, 1]) * rows
    return min(max(right, -HUGE), HUGE), min(max(down, -HUGE), HUGE)


@njit(**INLINE)
def _gather(face, count, m, layer, vertices, colours, faces, paint, xs, ys, row0, row1, reach,
            batch, corners):  # fmt: skip
    """Fill a batch with the next faces that matter; return the face to go on at, and how many.

    Left out are those too thin, too near, not finite, or outside the band. Corners are put in the
    order in which the edge functions are positive inside.
    """
    found = 0
    while face < count and found < LANES:
        a, b, c = faces[m, face, 0], faces[m, face, 1], faces[m, face, 2]
        face += 1
        x0, y0, z0 = vertices[layer, a, 0], vertices[layer, a, 1], vertices[layer, a, 2]
        x1, y1, z1 = vertices[layer, b, 0], vertices[layer, b, 1], vertices[layer, b, 2]
        x2, y2, z2 = vertices[layer, c, 0], vertices[layer, c, 1], vertices[layer, c, 2]
        low_x, high_x = min(x0, x1, x2) - reach, max(x0, x1, x2) + reach
        low_y, high_y = min(y0, y1, y2) - reach, max(y0, y1, y2) + reach
        area = (x2 - x0) * (y1 - y0) - (y2 - y0) * (x1 - x0)
        sound = abs(area) > EPSILON and high_x - low_x < HUGE and high_y - low_y < HUGE
        ahead = min(z0, z1, z2) >= MIN_DEPTH and max(z0, z1, z2) <= MAX_DEPTH
        across = low_x <= xs[0] and high_x >= xs[-1]
        if not (sound and ahead and across and low_y <= ys[row0] and high_y >= ys[row1 - 1]):
            continue
        if area < ZERO:
            b, c = c, b
            x1, y1, z1, x2, y2, z2 = x2, y2, z2, x1, y1, z1
        corners[found], corners[LANES + found], corners[2 * LANES + found] = a, b, c
        batch[X0 + found], batch[Y0 + found], batch[Z0 + found] = x0, y0, z0
        batch[X1 + found], batch[Y1 + found], batch[Z1 + found] = x1 - x0, y1 - y0, z1
        batch[X2 + found], batch[Y2 + found], batch[Z2 + found] = x2 - x0, y2 - y0, z2
        for channel in range(3):
            batch[R0 + channel * LANES + found] = colours[layer, a, channel]
            batch[R1 + channel * LANES + found] = colours[layer, b, channel]
            batch[R2 + channel * LANES + found] = colours[layer, c, channel]
        if paint is not None:
            batch[S0 + found], batch[T0 + found] = _place(paint, m, a)
            batch[S1 + found], batch[T1 + found] = _place(paint, m, b)
            batch[S2 + found], batch[T2 + found] = _place(paint, m, c)
        found += 1
    return face, found


@njit(**INLINE)
def _set_up(batch, xs, ys, row0, row1, reach, step):
    """Prepare a batch: its edges, their weights under perspective, and the tiles in reach."""
    first_x, last_x, first_y, last_y = xs[0], xs[-1], ys[row0], ys[row1 - 1]
    for k in range(LANES):
        x1, y1, x2, y2 = batch[X1 + k], batch[Y1 + k], batch[X2 + k], batch[Y2 + k]
        z0, z1, z2 = batch[Z0 + k], batch[Z1 + k], batch[Z2 + k]
        x0, y0, ex, ey = batch[X0 + k], batch[Y0 + k], x2 - x1, y2 - y1
        length0 = math.sqrt(ex * ex + ey * ey)
        length1 = math.sqrt(x2 * x2 + y2 * y2)
        length2 = math.sqrt(x1 * x1 + y1 * y1)
        inverse0, inverse1, inverse2 = ONE / length0, ONE / length1, ONE / length2
        batch[L0 + k], batch[L1 + k], batch[L2 + k] = length0, length1, length2
        batch[I0 + k], batch[I1 + k], batch[I2 + k] = inverse0, inverse1, inverse2
        batch[TX0 + k], batch[TY0 + k] = ex * inverse0, ey * inverse0
        batch[TX1 + k], batch[TY1 + k] = -x2 * inverse1, -y2 * inverse1
        batch[TX2 + k], batch[TY2 + k] = x1 * inverse2, y1 * inverse2
        batch[P0 + k], batch[P1 + k], batch[P2 + k] = ONE / z0, ONE / z1, ONE / z2
        zz0, zz1, zz2 = z1 * z2, z0 * z2, z0 * z1
        batch[Q0 + k], batch[Q1 + k], batch[Q2 + k] = zz0, zz1, zz2
        batch[M0 + k], batch[M1 + k] = length0 * zz0, length1 * zz1
        batch[M2 + k] = length2 * zz2
        batch[HEIGHT + k] = (y1 * ex - x1 * ey) * inverse0
        batch[START + k] = -(x1 * ex + y1 * ey) * inverse0
        low_x, high_x = x0 + (min(x1, x2, ZERO) - reach), x0 + (max(x1, x2, ZERO) + reach)
        low_y, high_y = y0 + (min(y1, y2, ZERO) - reach), y0 + (max(y1, y2, ZERO) + reach)
        left, right = _tiles(low_x, high_x, first_x, last_x, step, np.float32(WIDE))
        top, bottom = _tiles(low_y, high_y, first_y, last_y, step, np.float32(HIGH))
        batch[LEFT + k], batch[RIGHT + k] = np.float32(left), np.float32(right)
        batch[TOP + k], batch[BOTTOM + k] = np.float32(top), np.float32(bottom)


@njit(**INLINE)
def _reaches(batch, k, u, v, reach, step):
    """Whether face k may reach the tile whose first pixel lies (u, v) from its corner 0."""
    u, v = u - HALF * np.float32(WIDE - 1) * step, v - HALF * np.float32(HIGH - 1) * step
    inward0 = batch[HEIGHT + k] + u * batch[TY0 + k] - v * batch[TX0 + k]
    inward1 = u * batch[TY1 + k] - v * batch[TX1 + k]
    inward2 = u * batch[TY2 + k] - v * batch[TX2 + k]
    return min(inward0, inward1, inward2) > -(reach + RADIUS * step)


@njit(**INLINE)
def _between(place, size):
    """The texels before and after a place, its way from one to the other, and how it follows.

    Beyond the outermost texels it stays where it is. Any number, NaN too, gives texels that exist.
    """
    last = np.float32(max(size - 1, 0))
    follows = ONE if ZERO < place < last else ZERO
    place = place if place > ZERO else ZERO
    place = place if place < last else last
    before = int(place)
    return before, min(before + 1, max(size - 1, 0)), place - np.float32(before), follows


@njit(**INLINE)
def _look_up(batch, k, u, v, settings, pixels, tile, rival, at, paint, m):
    """Put into a tile, from ``at`` on, what face k shows of its mesh's texture.

    That is nothing where it is out of reach, or hidden by what lies ``rival`` near. Begins as
    ``_add_face``.
    """
    _, textures, sizes = paint
    nearest, fall, step, reach = settings[2], settings[3], settings[4], settings[5]
    height = batch[HEIGHT + k]
    tx0, ty0, m0, z0 = batch[TX0 + k], batch[TY0 + k], batch[M0 + k], batch[Z0 + k]
    tx1, ty1, m1, z1 = batch[TX1 + k], batch[TY1 + k], batch[M1 + k], batch[Z1 + k]
    tx2, ty2, m2, z2 = batch[TX2 + k], batch[TY2 + k], batch[M2 + k], batch[Z2 + k]
    s0, s1, s2 = batch[S0 + k], batch[S1 + k], batch[S2 + k]
    t0, t1, t2 = batch[T0 + k], batch[T1 + k], batch[T2 + k]
    for i in range(LANES):
        x, y = u - np.float32(i % WIDE) * step, v - np.float32(i // WIDE) * step
        d0, d1, d2 = height + x * ty0 - y * tx0, x * ty1 - y * tx1, x * ty2 - y * tx2
        q0, q1, q2 = max(d0, ZERO) * m0, max(d1, ZERO) * m1, max(d2, ZERO) * m2
        scale = ONE / max(q0 + q1 + q2, TINY)
        pixels[tile, at + ACROSS + i] = (q0 * s0 + q1 * s1 + q2 * s2) * scale
        pixels[tile, at + DOWN + i] = (q0 * t0 + q1 * t1 + q2 * t2) * scale
        lead = nearest - fall * ((q0 * z0 + q1 * z1 + q2 * z2) * scale) - pixels[tile, rival + i]
        pixels[tile, at + LEAD + i] = lead if min(d0, d1, d2) > -reach else LOWEST
        for part in range(3, TEXELS // LANES):
            pixels[tile, at + part * LANES + i] = ZERO
    rows, columns = sizes[m, 0], sizes[m, 1]
    for i in range(LANES):
        if rows == 0:
            for channel in range(3):
                pixels[tile, at + TEX_RED + channel * LANES + i] = ONE
        elif pixels[tile, at + LEAD + i] > HIDDEN:
            left, right, across, goes = _between(pixels[tile, at + ACROSS + i], columns)
            top, bottom, down, sinks = _between(pixels[tile, at + DOWN + i], rows)
            for channel in range(3):
                here, below = textures[m, top, left, channel], textures[m, bottom, left, channel]
                over = textures[m, top, right, channel] - here
                under = textures[m, bottom, right, channel] - below
                upper, lower = here + across * over, below + across * under
                place = at + channel * LANES + i
                pixels[tile, place + TEX_RED] = upper + down * (lower - upper)
                pixels[tile, place + RIGHT_RED] = goes * (over + down * (under - over))
                pixels[tile, place + DOWN_RED] = sinks * (lower - upper)


@njit(**INLINE)
def _add_face(batch, k, u, v, settings, pixels, tile, depth, paint):
    """Add face k to the tile whose first pixel lies (u, v) from its corner 0."""
    inv_sigma, faintest, nearest = settings[0], settings[1], settings[2]
    fall, step = settings[3], settings[4]
    height, start = batch[HEIGHT + k], batch[START + k]
    tx0, ty0, length0, m0 = batch[TX0 + k], batch[TY0 + k], batch[L0 + k], batch[M0 + k]
    tx1, ty1, length1, m1 = batch[TX1 + k], batch[TY1 + k], batch[L1 + k], batch[M1 + k]
    tx2, ty2, length2, m2 = batch[TX2 + k], batch[TY2 + k], batch[L2 + k], batch[M2 + k]
    z0, z1, z2 = batch[Z0 + k], batch[Z1 + k], batch[Z2 + k]
    r0, g0, b0 = batch[R0 + k], batch[G0 + k], batch[B0 + k]
    r1, g1, b1 = batch[R1 + k], batch[G1 + k], batch[B1 + k]
    r2, g2, b2 = batch[R2 + k], batch[G2 + k], batch[B2 + k]
    for i in range(LANES):
        x, y = u - np.float32(i % WIDE) * step, v - np.float32(i // WIDE) * step
        # Distances inward from the edges' lines, and how far past their ends.
        d0, d1, d2 = height + x * ty0 - y * tx0, x * ty1 - y * tx1, x * ty2 - y * tx2
        along0, along1, along2 = start + x * tx0 + y * ty0, x * tx1 + y * ty1, x * tx2 + y * ty2
        past0 = along0 - min(max(along0, ZERO), length0)
        past1 = along1 - min(max(along1, -length1), ZERO)
        past2 = along2 - min(max(along2, ZERO), length2)
        distance = min(d0 * d0 + past0 * past0, d1 * d1 + past1 * past1, d2 * d2 + past2 * past2)
        signed = (distance if min(d0, d1, d2) > ZERO else -distance) * inv_sigma
        q0, q1, q2 = max(d0, ZERO) * m0, max(d1, ZERO) * m1, max(d2, ZERO) * m2
        # At least the face's area times a depth squared, unless rounding eats it.
        total = max(q0 + q1 + q2, TINY)
        hit = signed > faintest and total > TINY
        odds = _exp(min(max(-signed, HIDDEN), FAINT))
        covered, scale = ONE / (ONE + odds), ONE / total
        z = (q0 * z0 + q1 * z1 + q2 * z2) * scale
        nearness = nearest - fall * z if hit else LOWEST
        before = pixels[tile, NEAREST + i]
        ahead = nearness - before
        factor = _exp(max(-abs(ahead), HIDDEN))
        kept = factor if ahead > ZERO else ONE
        weight = covered * (ONE if ahead > ZERO else factor)
        weight = weight if hit else ZERO
        share = weight * scale
        red, green, blue = pixels[tile, RED + i], pixels[tile, GREEN + i], pixels[tile, BLUE + i]
        pixels[tile, CLEAR + i] *= odds * covered if hit else ONE
        pixels[tile, NEAREST + i] = max(nearness, before)
        pixels[tile, WEIGHT + i] = pixels[tile, WEIGHT + i] * kept + weight
        own_red, own_green = q0 * r0 + q1 * r1 + q2 * r2, q0 * g0 + q1 * g1 + q2 * g2
        own_blue = q0 * b0 + q1 * b1 + q2 * b2
        if paint is not None:
            own_red *= pixels[tile, DEEP_TILE + TEX_RED + i]
            own_green *= pixels[tile, DEEP_TILE + TEX_GREEN + i]
            own_blue *= pixels[tile, DEEP_TILE + TEX_BLUE + i]
        pixels[tile, RED + i] = red * kept + own_red * share
        pixels[tile, GREEN + i] = green * kept + own_green * share
        pixels[tile, BLUE + i] = blue * kept + own_blue * share
        if depth is not None:
            pixels[tile, DEPTH + i] = pixels[tile, DEPTH + i] * kept + z * weight


@njit(**INLINE)
def _clear(pixels, tile, depth):
    """Reset a tile's accumulators."""
    for i in range(LANES):
        pixels[tile, CLEAR + i] = ONE
        pixels[tile, NEAREST + i] = LOWEST
        pixels[tile, WEIGHT + i] = ZERO
        pixels[tile, RED + i] = ZERO
        pixels[tile, GREEN + i] = ZERO
        pixels[tile, BLUE + i] = ZERO
        if depth is not None:
            pixels[tile, DEPTH + i] = ZERO


@njit(**INLINE)
def _finish(pixels, tile, layer, row0, column0, opaque,
            colour, log_weight, log_transmittance, depth):  # fmt: skip
    """Write a tile's pixels to the maps, those that lie in the image and were hit."""
    for i in range(LANES):
        row, column = row0 + i // WIDE, column0 + i % WIDE
        weight = pixels[tile, WEIGHT + i]
        if weight > ZERO and row < log_weight.shape[1] and column < log_weight.shape[2]:
            log_weight[layer, row, column] = pixels[tile, NEAREST + i] + math.log(weight)
            log_transmittance[layer, row, column] = max(math.log(pixels[tile, CLEAR + i]), opaque)
            for channel in range(3):
                total = pixels[tile, RED + channel * LANES + i]
                colour[layer, row, column, channel] = total / weight
            if depth is not None:
                depth[layer, row, column] = pixels[tile, DEPTH + i] / weight


@njit(**FAST)
def rasterize(
    start, stop, band_rows, vertices, colours, faces, num_faces, mesh, paint, xs, ys, settings,
    colour, log_weight, log_transmittance, depth,
):  # fmt: skip
    """Fill the output maps, which end with the depth or None.

    Item ``layer * bands + band`` is a band of rows of a layer. ``paint`` holds the meshes' uvs,
    textures and their sizes, or is None where no mesh has a texture.

    ``settings`` holds 1 / sigma, the signed distance over sigma at the blur radius, what
    z_inv / gamma is made of (its value at depth 0 and its fall per metre), the distance between
    pixels, the radius of blur, and the log-transmittance below which a pixel is opaque.
    """
    height, width = len(ys), len(xs)
    bands, across = (height + band_rows - 1) // band_rows, (width + WIDE - 1) // WIDE
    step, reach, opaque = settings[4], settings[5], settings[6]
    row_length = TILE if depth is None else DEEP_TILE
    if paint is not None:
        row_length = DEEP_TILE + TEXELS
    pixels = np.empty(((band_rows + HIGH - 1) // HIGH * across, row_length), vertices.dtype)
    for tile in range(len(pixels)):
        _clear(pixels, tile, depth)
    batch, corners = np.ones(BATCH, vertices.dtype), np.zeros(3 * LANES, np.int64)
    for item in range(start, stop):
        layer, row0 = item // bands, item % bands * band_rows
        row1 = min(row0 + band_rows, height)
        colour[layer, row0:row1] = ZERO
        log_weight[layer, row0:row1] = -INFINITY
        log_transmittance[layer, row0:row1] = ZERO
        if depth is not None:
            depth[layer, row0:row1] = ZERO
        m, face = mesh[layer], 0
        count = num_faces[m] if m >= 0 else 0
        while face < count:
            face, found = _gather(face, count, m, layer, vertices, colours, faces, paint, xs, ys,
                                  row0, row1, reach, batch, corners)  # fmt: skip
            _set_up(batch, xs, ys, row0, row1, reach, step)
            for k in range(found):
                left, right = int(batch[LEFT + k]), int(batch[RIGHT + k])
                for row in range(int(batch[TOP + k]), int(batch[BOTTOM + k])):
                    v = ys[row0 + row * HIGH] - batch[Y0 + k]
                    for column in range(left, right):
                        u = xs[column * WIDE] - batch[X0 + k]
                        if _reaches(batch, k, u, v, reach, step):
                            tile = row * across + column
                            if paint is not None:
                                _look_up(batch, k, u, v, settings, pixels, tile, NEAREST,
                                         DEEP_TILE, paint, m)  # fmt: skip
                            _add_face(batch, k, u, v, settings, pixels, tile, depth, paint)
        top, bottom, left, right = _rectangle(vertices, layer, xs, ys, row0, row1, reach, step)
        for row in range(top, bottom):
            for column in range(left, right):
                tile = row * across + column
                _finish(pixels, tile, layer, row0 + row * HIGH, column * WIDE, opaque,
                        colour, log_weight, log_transmittance, depth)  # fmt: skip
                _clear(pixels, tile, depth)


@njit(**INLINE)
def _pack(pixels, tile, layer, row0, column0, opaque,
          colour, log_weight, log_transmittance, depth,
          grad_colour, grad_log_weight, grad_log_transmittance, grad_depth):  # fmt: skip
    """Put side by side what a tile's pixels pass down; nothing where nothing was hit."""
    for i in range(LANES):
        row, column = row0 + i // WIDE, column0 + i % WIDE
        for k in range(TILE // LANES):
            pixels[tile, k * LANES + i] = ZERO
        if depth is not None:
            pixels[tile, UP_DEPTH + i] = ZERO
        inside = row < log_weight.shape[1] and column < log_weight.shape[2]
        if inside and log_weight[layer, row, column] > -INFINITY:
            upstream = grad_log_weight[layer, row, column]
            for channel in range(3):
                grad = grad_colour[layer, row, column, channel]
                upstream -= grad * colour[layer, row, column, channel]
                pixels[tile, UP_RED + channel * LANES + i] = grad
            if depth is not None:
                upstream -= grad_depth[layer, row, column] * depth[layer, row, column]
                pixels[tile, UP_DEPTH + i] = grad_depth[layer, row, column]
            pixels[tile, UP_WEIGHT + i] = upstream
            pixels[tile, LOG_WEIGHT + i] = log_weight[layer, row, column]
            if log_transmittance[layer, row, column] > opaque:
                pixels[tile, UP_CLEAR + i] = grad_log_transmittance[layer, row, column]


@njit(**INLINE)
def _face_gradient(batch, k, u, v, settings, pixels, tile, depth, paint):
    """Put into a tile what it passes down to face k; begins as ``_add_face``."""
    inv_sigma, faintest, nearest = settings[0], settings[1], settings[2]
    fall, step = settings[3], settings[4]
    height, start = batch[HEIGHT + k], batch[START + k]
    tx0, ty0, length0, m0 = batch[TX0 + k], batch[TY0 + k], batch[L0 + k], batch[M0 + k]
    tx1, ty1, length1, m1 = batch[TX1 + k], batch[TY1 + k], batch[L1 + k], batch[M1 + k]
    tx2, ty2, length2, m2 = batch[TX2 + k], batch[TY2 + k], batch[L2 + k], batch[M2 + k]
    x1, y1, x2, y2 = batch[X1 + k], batch[Y1 + k], batch[X2 + k], batch[Y2 + k]
    z0, z1, z2 = batch[Z0 + k], batch[Z1 + k], batch[Z2 + k]
    per_z0, per_z1, per_z2 = batch[P0 + k], batch[P1 + k], batch[P2 + k]
    per_length0, per_length1, per_length2 = batch[I0 + k], batch[I1 + k], batch[I2 + k]
    zz0, zz1, zz2 = batch[Q0 + k], batch[Q1 + k], batch[Q2 + k]
    r0, g0, b0 = batch[R0 + k], batch[G0 + k], batch[B0 + k]
    r1, g1, b1 = batch[R1 + k], batch[G1 + k], batch[B1 + k]
    r2, g2, b2 = batch[R2 + k], batch[G2 + k], batch[B2 + k]
    pull_scale = -(inv_sigma + inv_sigma)
    s0, s1, s2 = batch[S0 + k], batch[S1 + k], batch[S2 + k]
    t0, t1, t2 = batch[T0 + k], batch[T1 + k], batch[T2 + k]
    at = WIDE_DEEP_TILE
    for i in range(LANES):
        x, y = u - np.float32(i % WIDE) * step, v - np.float32(i // WIDE) * step
        d0, d1, d2 = height + x * ty0 - y * tx0, x * ty1 - y * tx1, x * ty2 - y * tx2
        along0, along1, along2 = start + x * tx0 + y * ty0, x * tx1 + y * ty1, x * tx2 + y * ty2
        foot0, foot1 = min(max(along0, ZERO), length0), min(max(along1, -length1), ZERO)
        foot2 = min(max(along2, ZERO), length2)
        past0, past1, past2 = along0 - foot0, along1 - foot1, along2 - foot2
        distance0, distance1 = d0 * d0 + past0 * past0, d1 * d1 + past1 * past1
        distance = min(distance0, distance1, d2 * d2 + past2 * past2)
        inside = min(d0, d1, d2) > ZERO
        signed = (distance if inside else -distance) * inv_sigma
        q0, q1, q2 = max(d0, ZERO) * m0, max(d1, ZERO) * m1, max(d2, ZERO) * m2
        total = max(q0 + q1 + q2, TINY)
        hit = signed > faintest and total > TINY
        covered, scale = ONE / (ONE + _exp(min(max(-signed, HIDDEN), FAINT))), ONE / total
        covered = covered if hit else ZERO
        w0, w1, w2 = q0 * scale, q1 * scale, q2 * scale
        z = w0 * z0 + w1 * z1 + w2 * z2
        ahead = nearest - fall * z - pixels[tile, LOG_WEIGHT + i]
        share = covered * _exp(min(max(ahead, HIDDEN), FAINT))
        red, green = pixels[tile, UP_RED + i], pixels[tile, UP_GREEN + i]
        blue = pixels[tile, UP_BLUE + i]
        if paint is not None:
            # Of the texel and of the place on the texture, but for the fragment's share.
            by_red = red * (w0 * r0 + w1 * r1 + w2 * r2)
            by_green = green * (w0 * g0 + w1 * g1 + w2 * g2)
            by_blue = blue * (w0 * b0 + w1 * b1 + w2 * b2)
            up_s = by_red * pixels[tile, at + RIGHT_RED + i]
            up_s += by_green * pixels[tile, at + RIGHT_GREEN + i]
            up_s += by_blue * pixels[tile, at + RIGHT_BLUE + i]
            up_t = by_red * pixels[tile, at + DOWN_RED + i]
            up_t += by_green * pixels[tile, at + DOWN_GREEN + i]
            up_t += by_blue * pixels[tile, at + DOWN_BLUE + i]
            red *= pixels[tile, at + TEX_RED + i]
            green *= pixels[tile, at + TEX_GREEN + i]
            blue *= pixels[tile, at + TEX_BLUE + i]
        up0 = red * r0 + green * g0 + blue * b0
        up1 = red * r1 + green * g1 + blue * b1
        up2 = red * r2 + green * g2 + blue * b2
        # Of the logarithm of the fragment's weight, then of its signed distance and its depth.
        up_weight = pixels[tile, UP_WEIGHT + i] + up0 * w0 + up1 * w1 + up2 * w2
        if depth is not None:
            up_weight += pixels[tile, UP_DEPTH + i] * z
        up_weight *= share
        up_signed = up_weight - covered * (up_weight + pixels[tile, UP_CLEAR + i])
        up_z = -fall * up_weight
        if depth is not None:
            up_z += share * pixels[tile, UP_DEPTH + i]
        red, green, blue = red * share, green * share, blue * share
        pixels[tile, DR0 + i], pixels[tile, DR1 + i] = red * w0, red * w1
        pixels[tile, DG0 + i], pixels[tile, DG1 + i] = green * w0, green * w1
        pixels[tile, DB0 + i], pixels[tile, DB1 + i] = blue * w0, blue * w1
        pixels[tile, DR2 + i], pixels[tile, DG2 + i] = red * w2, green * w2
        pixels[tile, DB2 + i] = blue * w2
        if paint is not None:
            pixels[tile, at + UP_TEXEL + i] = share * by_red
            pixels[tile, at + UP_TEXEL + LANES + i] = share * by_green
            pixels[tile, at + UP_TEXEL + 2 * LANES + i] = share * by_blue
            up0, up1 = up0 + s0 * up_s + t0 * up_t, up1 + s1 * up_s + t1 * up_t
            up2 += s2 * up_s + t2 * up_t
            up_s, up_t = share * up_s, share * up_t
            pixels[tile, DS0 + i], pixels[tile, DT0 + i] = up_s * w0, up_t * w0
            pixels[tile, DS1 + i], pixels[tile, DT1 + i] = up_s * w1, up_t * w1
            pixels[tile, DS2 + i], pixels[tile, DT2 + i] = up_s * w2, up_t * w2
        # Of w, through its normalisation, and as q_i goes with 1 / z_i, of z.
        up0, up1, up2 = share * up0 + up_z * z0, share * up1 + up_z * z1, share * up2 + up_z * z2
        mean = up0 * w0 + up1 * w1 + up2 * w2
        up0, up1, up2 = up0 - mean, up1 - mean, up2 - mean
        pixels[tile, DZ0 + i] = w0 * (up_z - up0 * per_z0)
        pixels[tile, DZ1 + i] = w1 * (up_z - up1 * per_z1)
        pixels[tile, DZ2 + i] = w2 * (up_z - up2 * per_z2)
        # Of the edge functions, where they are positive.
        up0 = up0 * scale * zz0 if d0 > ZERO else ZERO
        up1 = up1 * scale * zz1 if d1 > ZERO else ZERO
        up2 = up2 * scale * zz2 if d2 > ZERO else ZERO
        # Of the nearest point of the outline, a mixture f of the corners; by the envelope theorem
        # f is constant.
        along0, along1, along2 = foot0 * per_length0, ONE + foot1 * per_length1, foot2 * per_length2
        on0, on1 = distance == distance0, distance == distance1
        f0 = ZERO if on0 else (along1 if on1 else ONE - along2)
        f1 = ONE - along0 if on0 else (ZERO if on1 else along2)
        f2 = along0 if on0 else (ONE - along1 if on1 else ZERO)
        pull = (up_signed if inside else -up_signed) * pull_scale
        pull_x, pull_y = pull * (x - f1 * x1 - f2 * x2), pull * (y - f1 * y1 - f2 * y2)
        bx, by, cx, cy = x - x1, y - y1, x - x2, y - y2
        pixels[tile, DX0 + i] = up2 * by - up1 * cy + f0 * pull_x
        pixels[tile, DY0 + i] = up1 * cx - up2 * bx + f0 * pull_y
        pixels[tile, DX1 + i] = up0 * cy - up2 * y + f1 * pull_x
        pixels[tile, DY1 + i] = up2 * x - up0 * cx + f1 * pull_y
        pixels[tile, DX2 + i] = up1 * y - up0 * by + f2 * pull_x
        pixels[tile, DY2 + i] = up0 * bx - up1 * x + f2 * pull_y


@njit(**INLINE)
def _spread(pixels, tile, paint, m, grad_textures):
    """Add the gradients of the texels that a tile shows to those of the texture."""
    _, _, sizes = paint
    at = WIDE_DEEP_TILE
    for i in range(LANES):
        up_red = pixels[tile, at + UP_TEXEL + i]
        up_green = pixels[tile, at + UP_TEXEL + LANES + i]
        up_blue = pixels[tile, at + UP_TEXEL + 2 * LANES + i]
        if sizes[m, 0] == 0 or (up_red == ZERO and up_green == ZERO and up_blue == ZERO):
            continue
        left, right, across, _ = _between(pixels[tile, at + ACROSS + i], sizes[m, 1])
        top, bottom, down, _ = _between(pixels[tile, at + DOWN + i], sizes[m, 0])
        for channel in range(3):
            upstream = pixels[tile, at + UP_TEXEL + channel * LANES + i]
            upper, lower = upstream * (ONE - down), upstream * down
            grad_textures[m, top, left, channel] += upper * (ONE - across)
            grad_textures[m, top, right, channel] += upper * across
            grad_textures[m, bottom, left, channel] += lower * (ONE - across)
            grad_textures[m, bottom, right, channel] += lower * across


@njit(**INLINE)
def _fold(sums, count):
    """Bring each of the sums over LANES to the first places, in pairs of pairs."""
    half = LANES // 2
    while half:
        for k in range(count // LANES):
            for i in range(half):
                sums[k * LANES + i] += sums[k * LANES + half + i]
        half //= 2


@njit(**FAST)
def rasterize_backward(
    start, stop, band_rows, vertices, colours, faces, num_faces, mesh, paint, xs, ys, settings,
    colour, log_weight, log_transmittance, depth,
    grad_colour, grad_log_weight, grad_log_transmittance, grad_depth,
    grad_vertices, grad_colours, grad_uvs, grad_textures,
):  # fmt: skip
    """Fill the gradients [band, layer, vertex, ...] of vertices, colours and uvs.

    Adds to that of the textures, in double precision, which is empty if nobody asks for it. The
    rest is as in ``rasterize``.
    """
    height, width = len(ys), len(xs)
    bands, across = (height + band_rows - 1) // band_rows, (width + WIDE - 1) // WIDE
    step, reach, opaque = settings[4], settings[5], settings[6]
    row_length = WIDE_TILE if depth is None else WIDE_DEEP_TILE
    num_sums = SUMS
    if paint is not None:
        row_length, num_sums = WIDE_DEEP_TILE + WIDE_TEXELS, ALL_SUMS
    pixels = np.empty(((band_rows + HIGH - 1) // HIGH * across, row_length), vertices.dtype)
    batch, corners = np.ones(BATCH, vertices.dtype), np.zeros(3 * LANES, np.int64)
    sums = np.empty(num_sums, vertices.dtype)
    for item in range(start, stop):
        layer, band = item // bands, item % bands
        row0, row1 = band * band_rows, min((band + 1) * band_rows, height)
        grad_vertices[band, layer] = ZERO
        grad_colours[band, layer] = ZERO
        if paint is not None:
            grad_uvs[band, layer] = ZERO
        top, bottom, left, right = _rectangle(vertices, layer, xs, ys, row0, row1, reach, step)
        for row in range(top, bottom):
            for column in range(left, right):
                _pack(pixels, row * across + column, layer, row0 + row * HIGH, column * WIDE,
                      opaque, colour, log_weight, log_transmittance, depth,
                      grad_colour, grad_log_weight, grad_log_transmittance,
                      grad_depth)  # fmt: skip
        m, face = mesh[layer], 0
        count = num_faces[m] if m >= 0 else 0
        while face < count:
            face, found = _gather(face, count, m, layer, vertices, colours, faces, paint, xs, ys,
                                  row0, row1, reach, batch, corners)  # fmt: skip
            _set_up(batch, xs, ys, row0, row1, reach, step)
            for k in range(found):
                sums[:] = ZERO
                left, right = int(batch[LEFT + k]), int(batch[RIGHT + k])
                for row in range(int(batch[TOP + k]), int(batch[BOTTOM + k])):
                    v = ys[row0 + row * HIGH] - batch[Y0 + k]
                    for column in range(left, right):
                        u = xs[column * WIDE] - batch[X0 + k]
                        if _reaches(batch, k, u, v, reach, step):
                            tile = row * across + column
                            if paint is not None:
                                _look_up(batch, k, u, v, settings, pixels, tile, LOG_WEIGHT,
                                         WIDE_DEEP_TILE, paint, m)  # fmt: skip
                            _face_gradient(batch, k, u, v, settings, pixels, tile, depth, paint)
                            for i in range(num_sums):
                                sums[i] += pixels[tile, TILE + i]
                            if paint is not None and grad_textures.size:
                                _spread(pixels, tile, paint, m, grad_textures)
                _fold(sums, num_sums)
                for corner in range(3):
                    vertex = corners[corner * LANES + k]
                    for axis in range(3):
                        place = (6 * corner + axis) * LANES
                        grad_vertices[band, layer, vertex, axis] += sums[place]
                        grad_colours[band, layer, vertex, axis] += sums[place + 3 * LANES]
                    if paint is not None:
                        place = SUMS + 2 * corner * LANES
                        rows, columns = _steps(paint, m)
                        grad_uvs[band, layer, vertex, 0] += sums[place] * columns
                        grad_uvs[band, layer, vertex, 1] -= sums[place + LANES] * rows
