"""Triton kernels that rasterize meshes softly into layers; the package's docstring says how."""

import triton
import triton.language as tl

from air3d.render.cuda.face_kernels import (
    HIDDEN,
    LOWEST,
    area_of,
    corners_of,
    lanes_of,
    lengths_of,
    mesh_of,
    odds_of,
    outline_of,
    reached_faces,
    shares_of,
    shows_on,
    swapped,
    tile_of,
    triple,
)
from air3d.render.cuda.texture_kernels import place_of, show


@triton.jit
def rasterize(
    vertices, colours, uvs, textures, texture_sizes, faces, num_faces, mesh, bounds,
    colour, log_weight, log_transmittance, depth,
    num_meshes, most_vertices, most_faces, most_rows, most_columns, height, width,
    inv_sigma: tl.float64, faintest: tl.float64, nearest: tl.float64, fall: tl.float64,
    reach: tl.float64, opaque: tl.float64,
    TEXTURED: tl.constexpr, WITH_DEPTH: tl.constexpr,
    SIDE: tl.constexpr, TESTED: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Fill one tile of SIDE x SIDE pixels of one layer's maps; program ``layer * tiles + tile``.

    Faces are tested TESTED at a time, by their bounding boxes, and those that reach the tile go
    over all of its pixels, LANES at a time. Each lane keeps sums of its own: the lanes meet once,
    at the end.
    """
    dtype: tl.constexpr = vertices.dtype.element_ty
    inv_sigma, faintest = tl.full((), inv_sigma, dtype), tl.full((), faintest, dtype)
    nearest, fall = tl.full((), nearest, dtype), tl.full((), fall, dtype)
    reach, opaque = tl.full((), reach, dtype), tl.full((), opaque, dtype)
    layer, row, column, px, py, left, right, top, bottom = tile_of(height, width, SIDE, dtype)
    m, count = mesh_of(layer, mesh, num_faces, num_meshes)
    count = tl.where(shows_on(bounds, layer, left, right, top, bottom), count, 0)
    own_vertices = vertices + layer * most_vertices * 3
    own_colours = colours + layer * most_vertices * 3
    if TEXTURED:
        own_uvs = uvs + m * most_vertices * 2
        texture = textures + m * most_rows * most_columns * 3
        rows = tl.load(texture_sizes + m * 2).to(tl.int32)
        columns = tl.load(texture_sizes + m * 2 + 1).to(tl.int32)

    clear = tl.full((LANES, SIDE * SIDE), 1.0, dtype)
    ahead_of = tl.full((LANES, SIDE * SIDE), LOWEST, dtype)
    weight_sum = tl.zeros((LANES, SIDE * SIDE), dtype)
    red_sum = tl.zeros((LANES, SIDE * SIDE), dtype)
    green_sum = tl.zeros((LANES, SIDE * SIDE), dtype)
    blue_sum = tl.zeros((LANES, SIDE * SIDE), dtype)
    depth_sum = tl.zeros((LANES, SIDE * SIDE), dtype)
    for first in range(0, count, TESTED):
        reached = reached_faces(
            first + tl.arange(0, TESTED), count, m, layer, vertices, faces,
            most_vertices, most_faces, reach, left, right, top, bottom,
        )  # fmt: skip
        rank = tl.cumsum(reached.to(tl.int32), axis=0) - 1
        number = tl.sum(reached.to(tl.int32), axis=0)
        for start in range(0, number, LANES):
            face, there = lanes_of(reached, rank, first, start, TESTED, LANES)
            face, there = face[:, None], there[:, None]
            a, b, c = corners_of(face, there, m, faces, most_faces)
            x0, y0, z0 = triple(own_vertices, a, there)
            x1, y1, z1 = triple(own_vertices, b, there)
            x2, y2, z2 = triple(own_vertices, c, there)
            turn = area_of(x0, y0, x1, y1, x2, y2) < 0.0
            b, c = swapped(turn, b, c)
            x1, x2 = swapped(turn, x1 - x0, x2 - x0)
            y1, y2 = swapped(turn, y1 - y0, y2 - y0)
            z1, z2 = swapped(turn, z1, z2)
            # An empty lane holds a face of some size, so that nothing is divided by 0.
            x1, y1 = tl.where(there, x1, 0.0), tl.where(there, y1, 1.0)
            x2, y2 = tl.where(there, x2, 1.0), tl.where(there, y2, 0.0)

            length0, length1, length2 = lengths_of(x1, y1, x2, y2)
            d0, d1, d2, _, _, _, _, _, distance = outline_of(
                px - x0, py - y0, x1, y1, x2, y2, length0, length1, length2
            )
            w0, w1, w2, _, known = shares_of(d0, d1, d2, length0, length1, length2, z0, z1, z2)
            inside = tl.minimum(tl.minimum(d0, d1), d2) > 0.0
            signed = tl.where(inside, distance, -distance) * inv_sigma
            hit = there & known & (signed > faintest)
            odds = odds_of(signed)
            covered = 1.0 / (1.0 + odds)
            z = w0 * z0 + w1 * z1 + w2 * z2
            nearness = tl.where(hit, nearest - fall * z, LOWEST)
            lead = nearness - ahead_of
            factor = tl.exp(tl.maximum(-tl.abs(lead), HIDDEN))
            kept = tl.where(lead > 0.0, factor, 1.0)
            weight = tl.where(hit, covered * tl.where(lead > 0.0, 1.0, factor), 0.0)
            r0, g0, b0 = triple(own_colours, a, there)
            r1, g1, b1 = triple(own_colours, b, there)
            r2, g2, b2 = triple(own_colours, c, there)
            red = w0 * r0 + w1 * r1 + w2 * r2
            green = w0 * g0 + w1 * g1 + w2 * g2
            blue = w0 * b0 + w1 * b1 + w2 * b2
            if TEXTURED:
                s0, t0 = place_of(own_uvs, a, there, rows, columns)
                s1, t1 = place_of(own_uvs, b, there, rows, columns)
                s2, t2 = place_of(own_uvs, c, there, rows, columns)
                s, t = w0 * s0 + w1 * s1 + w2 * s2, w0 * t0 + w1 * t1 + w2 * t2
                seen = hit & (lead > HIDDEN)
                tex_red, tex_green, tex_blue, _, _, _, _, _, _ = show(
                    texture, rows, columns, most_columns, s, t, seen
                )
                red, green, blue = red * tex_red, green * tex_green, blue * tex_blue
            clear *= tl.where(hit, odds * covered, 1.0)
            ahead_of = tl.maximum(ahead_of, nearness)
            weight_sum = weight_sum * kept + weight
            red_sum = red_sum * kept + red * weight
            green_sum = green_sum * kept + green * weight
            blue_sum = blue_sum * kept + blue * weight
            if WITH_DEPTH:
                depth_sum = depth_sum * kept + z * weight

    front = tl.max(ahead_of, axis=0)
    factor = tl.exp(tl.maximum(ahead_of - front[None, :], HIDDEN))
    total = tl.sum(weight_sum * factor, axis=0)
    hit = total > 0.0
    total = tl.where(hit, total, 1.0)
    share = 1.0 / total
    missed = tl.maximum(tl.sum(tl.log(clear), axis=0), opaque)
    inside = (row < height) & (column < width)
    at = (layer * height + row) * width + column
    empty = float("-inf")
    tl.store(log_weight + at, tl.where(hit, front + tl.log(total), empty), mask=inside)
    tl.store(log_transmittance + at, tl.where(hit, missed, 0.0), mask=inside)
    tl.store(colour + at * 3, tl.sum(red_sum * factor, axis=0) * share, mask=inside)
    tl.store(colour + at * 3 + 1, tl.sum(green_sum * factor, axis=0) * share, mask=inside)
    tl.store(colour + at * 3 + 2, tl.sum(blue_sum * factor, axis=0) * share, mask=inside)
    if WITH_DEPTH:
        tl.store(depth + at, tl.sum(depth_sum * factor, axis=0) * share, mask=inside)
