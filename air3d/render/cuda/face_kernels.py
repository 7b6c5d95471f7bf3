"""Triton functions about faces and pixels, which the kernels of layers share.

Blocks of faces are [face, 1] and blocks of pixels [1, pixel] or [face, pixel], so that together
they broadcast. Places on the image are in NDC, those of pixels and of corners 1 and 2 relative to
corner 0; edge i lies opposite corner i. The arithmetic is that of the CPU's ``layer_kernels``,
whose constants these are.

Literals take the precision of what they meet, so one source serves float32 and float64. Numbers
of layers, meshes and texels are 64-bit before they are multiplied into offsets.
"""

import triton
import triton.language as tl

TINY = tl.constexpr(1e-30)
EPSILON = tl.constexpr(1e-8)
MIN_DEPTH = tl.constexpr(1e-3)
MAX_DEPTH = tl.constexpr(1e6)
HUGE = tl.constexpr(1e9)
LOWEST = tl.constexpr(-1e30)
HIDDEN = tl.constexpr(-50.0)
FAINT = tl.constexpr(10.0)


@triton.jit
def centre(index, size, shorter, dtype: tl.constexpr):
    """Return the NDC of pixel centres along one side of the image; they fall."""
    return (size - 1 - 2 * index).to(dtype) / shorter.to(dtype)


@triton.jit
def mesh_of(layer, mesh, num_faces, num_meshes):
    """Return a layer's mesh and how many faces it has: none where there is no such mesh."""
    m = tl.load(mesh + layer)
    exists = (m >= 0) & (m < num_meshes)
    m = tl.where(exists, m, 0).to(tl.int64)
    count = tl.load(num_faces + m, mask=exists, other=0)
    return m, count.to(tl.int32)


@triton.jit
def corners_of(face, there, m, faces, most_faces):
    """Return the vertices at the corners of faces; 0 where a face is not there."""
    at = faces + (m * most_faces + face) * 3
    first = tl.load(at, mask=there, other=0)
    second = tl.load(at + 1, mask=there, other=0)
    third = tl.load(at + 2, mask=there, other=0)
    return first, second, third


@triton.jit
def triple(rows, vertex, there):
    """Return three numbers of each vertex, from rows of three."""
    at = rows + vertex * 3
    x = tl.load(at, mask=there, other=0.0)
    y = tl.load(at + 1, mask=there, other=0.0)
    z = tl.load(at + 2, mask=there, other=0.0)
    return x, y, z


@triton.jit
def area_of(x0, y0, x1, y1, x2, y2):
    """Return twice the signed area of faces, positive where edge functions are, inside."""
    return (x2 - x0) * (y1 - y0) - (y2 - y0) * (x1 - x0)


@triton.jit
def bounds_of(u0, u1, u2, reach):
    """Return how far faces reach along one axis."""
    low = tl.minimum(tl.minimum(u0, u1), u2) - reach
    high = tl.maximum(tl.maximum(u0, u1), u2) + reach
    return low, high


@triton.jit
def is_ahead(z0, z1, z2):
    """Return whether faces lie wholly within the depths that are shown; not if one is NaN."""
    near = (z0 >= MIN_DEPTH) & (z1 >= MIN_DEPTH) & (z2 >= MIN_DEPTH)
    return near & (z0 <= MAX_DEPTH) & (z1 <= MAX_DEPTH) & (z2 <= MAX_DEPTH)


@triton.jit
def is_sound(area, low_x, high_x, low_y, high_y, z0, z1, z2):
    """Return whether faces matter: not too thin, not too near, and finite."""
    small = (high_x - low_x < HUGE) & (high_y - low_y < HUGE)
    return (tl.abs(area) > EPSILON) & small & is_ahead(z0, z1, z2)


@triton.jit
def swapped(turn, second, third):
    """Return what two corners hold, the other way round where ``turn`` says so."""
    return tl.where(turn, third, second), tl.where(turn, second, third)


@triton.jit
def reached_faces(
    face, count, m, layer, vertices, faces, most_vertices, most_faces, reach,
    left, right, top, bottom,
):  # fmt: skip
    """Return which faces matter to a tile, by its outermost pixels' centres (NDC)."""
    there = face < count
    a, b, c = corners_of(face, there, m, faces, most_faces)
    own = vertices + layer * most_vertices * 3
    x0, y0, z0 = triple(own, a, there)
    x1, y1, z1 = triple(own, b, there)
    x2, y2, z2 = triple(own, c, there)
    low_x, high_x = bounds_of(x0, x1, x2, reach)
    low_y, high_y = bounds_of(y0, y1, y2, reach)
    area = area_of(x0, y0, x1, y1, x2, y2)
    sound = is_sound(area, low_x, high_x, low_y, high_y, z0, z1, z2)
    across = (low_x <= left) & (high_x >= right) & (low_y <= top) & (high_y >= bottom)
    return there & sound & across


@triton.jit
def tile_of(height, width, SIDE: tl.constexpr, dtype: tl.constexpr):
    """Return the layer of program ``layer * tiles + tile``, and the pixels of its tile.

    Their rows, columns and centres, the latter [1, pixel], and the outermost pixels' centres: left,
    right, top and bottom. Pixels of a tile may lie beyond the image, the outermost ones do not.
    """
    across = (width + SIDE - 1) // SIDE
    tiles = across * ((height + SIDE - 1) // SIDE)
    layer, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    first_row, first_column = tile // across * SIDE, tile % across * SIDE
    place = tl.arange(0, SIDE * SIDE)
    row, column = first_row + place // SIDE, first_column + place % SIDE
    shorter = tl.minimum(height, width)
    px = centre(column, width, shorter, dtype)[None, :]
    py = centre(row, height, shorter, dtype)[None, :]
    left = centre(first_column, width, shorter, dtype)
    right = centre(tl.minimum(first_column + SIDE, width) - 1, width, shorter, dtype)
    top = centre(first_row, height, shorter, dtype)
    bottom = centre(tl.minimum(first_row + SIDE, height) - 1, height, shorter, dtype)
    return layer, row, column, px, py, left, right, top, bottom


@triton.jit
def shows_on(bounds, layer, left, right, top, bottom):
    """Return whether a layer's mesh may show on a tile, by its outermost pixels' centres."""
    at = bounds + layer * 4
    across = (tl.load(at) <= left) & (tl.load(at + 1) >= right)
    return across & (tl.load(at + 2) <= top) & (tl.load(at + 3) >= bottom)


@triton.jit
def lanes_of(reached, rank, first, start, TESTED: tl.constexpr, LANES: tl.constexpr):
    """Return the next LANES of the faces reached, and which of them are there.

    By comparing ranks: Triton has no other way to move a number from one place of a block to
    another than through memory.
    """
    lane = start + tl.arange(0, LANES)
    mine = reached[None, :] & (rank[None, :] == lane[:, None])
    offset = tl.sum(tl.where(mine, tl.arange(0, TESTED)[None, :], 0), axis=1)
    return first + offset, tl.sum(mine.to(tl.int32), axis=1) > 0


@triton.jit
def along_edge(x, y, tx, ty, start, low, high):
    """Return the nearest place of a segment to pixels, and how far they are beyond its ends."""
    along = start + x * tx + y * ty
    foot = tl.minimum(tl.maximum(along, low), high)
    return foot, along - foot


@triton.jit
def lengths_of(x1, y1, x2, y2):
    """Return the lengths of a face's edges."""
    ex, ey = x2 - x1, y2 - y1
    length0 = tl.sqrt(ex * ex + ey * ey)
    return length0, tl.sqrt(x2 * x2 + y2 * y2), tl.sqrt(x1 * x1 + y1 * y1)


@triton.jit
def outline_of(x, y, x1, y1, x2, y2, length0, length1, length2):
    """Return how pixels lie to a face's edges.

    Their distances inward from the three lines, the nearest places on the three edges (edge 0 from
    corner 1 on, edge 1 back from corner 0, edge 2 from corner 0 on), and the squared distances to
    edges 0 and 1 and to the nearest.
    """
    tx0, ty0 = (x2 - x1) / length0, (y2 - y1) / length0
    tx1, ty1 = -x2 / length1, -y2 / length1
    tx2, ty2 = x1 / length2, y1 / length2
    d0 = (y1 * tx0 - x1 * ty0) + x * ty0 - y * tx0
    d1 = x * ty1 - y * tx1
    d2 = x * ty2 - y * tx2
    foot0, past0 = along_edge(x, y, tx0, ty0, -(x1 * tx0 + y1 * ty0), 0.0, length0)
    foot1, past1 = along_edge(x, y, tx1, ty1, 0.0, -length1, 0.0)
    foot2, past2 = along_edge(x, y, tx2, ty2, 0.0, 0.0, length2)
    distance0 = d0 * d0 + past0 * past0
    distance1 = d1 * d1 + past1 * past1
    distance = tl.minimum(tl.minimum(distance0, distance1), d2 * d2 + past2 * past2)
    return d0, d1, d2, foot0, foot1, foot2, distance0, distance1, distance


@triton.jit
def shares_of(d0, d1, d2, length0, length1, length2, z0, z1, z2):
    """Return the corners' shares of pixels, clipped and in perspective, and one over their sum.

    The sum is at least the face's area times a depth squared, unless rounding eats it: then the
    last, whether it did not, is false.
    """
    q0 = tl.maximum(d0, 0.0) * (length0 * (z1 * z2))
    q1 = tl.maximum(d1, 0.0) * (length1 * (z0 * z2))
    q2 = tl.maximum(d2, 0.0) * (length2 * (z0 * z1))
    total = q0 + q1 + q2
    scale = 1.0 / tl.maximum(total, TINY)
    return q0 * scale, q1 * scale, q2 * scale, scale, total > TINY


@triton.jit
def odds_of(signed):
    """Return (1 - prob) / prob at signed squared distances over sigma, positive inside."""
    return tl.exp(tl.minimum(tl.maximum(-signed, HIDDEN), FAINT))
