"""Triton kernel that takes the gradients of layers back to the corners of faces."""

# What is bound only where there are textures is used only there: Triton compiles one of the two.
# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false

import triton
import triton.language as tl

from air3d.render.cuda.face_kernels import (
    FAINT,
    HIDDEN,
    area_of,
    bounds_of,
    centre,
    corners_of,
    is_sound,
    lengths_of,
    mesh_of,
    odds_of,
    outline_of,
    shares_of,
    swapped,
    triple,
)
from air3d.render.cuda.texture_kernels import place_of, show, spread


@triton.jit
def pixels_between(low, high, size, shorter, sound):
    """Return the first of the pixels that may lie between two NDC, and how many they are."""
    most = tl.full((), size - 1, low.dtype)
    first = tl.ceil((most - high * shorter) * 0.5 - 0.01)
    last = tl.floor((most - low * shorter) * 0.5 + 0.01)
    first = tl.minimum(tl.maximum(tl.where(sound, first, 0.0), 0.0), most)
    last = tl.minimum(tl.maximum(tl.where(sound, last, -1.0), -1.0), most)
    first, last = first.to(tl.int32), last.to(tl.int32)
    return first, tl.maximum(last - first + 1, 0)


@triton.jit
def store_sum(grad_corners, at, corner, quantity, QUANTITIES: tl.constexpr, there, lanes):
    """Write the sum over a face's pixels where its corner belongs."""
    place = (at * 3 + corner) * QUANTITIES + quantity
    tl.store(grad_corners + place, tl.sum(lanes, axis=1), mask=there)


@triton.jit
def store_corner(grad_corners, at, corner, QUANTITIES: tl.constexpr, there, x, y, z, r, g, b):
    """Write a corner's sums of place and colour."""
    store_sum(grad_corners, at, corner, 0, QUANTITIES, there, x)
    store_sum(grad_corners, at, corner, 1, QUANTITIES, there, y)
    store_sum(grad_corners, at, corner, 2, QUANTITIES, there, z)
    store_sum(grad_corners, at, corner, 3, QUANTITIES, there, r)
    store_sum(grad_corners, at, corner, 4, QUANTITIES, there, g)
    store_sum(grad_corners, at, corner, 5, QUANTITIES, there, b)


@triton.jit
def rasterize_backward(
    vertices, colours, uvs, textures, texture_sizes, faces, num_faces, mesh,
    colour, log_weight, log_transmittance, depth,
    grad_colour, grad_log_weight, grad_log_transmittance, grad_depth,
    grad_corners, grad_textures, texture_unit,
    num_meshes, most_vertices, most_faces, most_rows, most_columns, height, width,
    inv_sigma: tl.float64, faintest: tl.float64, nearest: tl.float64, fall: tl.float64,
    reach: tl.float64, opaque: tl.float64,
    TEXTURED: tl.constexpr, WITH_DEPTH: tl.constexpr, WANTS_TEXTURES: tl.constexpr,
    QUANTITIES: tl.constexpr, FACES: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Fill the gradients of some faces' corners [layer, face, corner, quantity].

    Quantities: x, y, depth, red, green, blue, and where there are textures u and v. Program
    ``layer * blocks + block`` has FACES faces, and goes over the pixels of their bounding boxes,
    PIXELS of each at a time. So every sum is one program's own, in an order that never changes.
    """
    dtype: tl.constexpr = vertices.dtype.element_ty
    inv_sigma, faintest = tl.full((), inv_sigma, dtype), tl.full((), faintest, dtype)
    nearest, fall = tl.full((), nearest, dtype), tl.full((), fall, dtype)
    reach, opaque = tl.full((), reach, dtype), tl.full((), opaque, dtype)
    blocks = (most_faces + FACES - 1) // FACES
    layer, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    m, count = mesh_of(layer, mesh, num_faces, num_meshes)
    face = block * FACES + tl.arange(0, FACES)
    there = face < count
    at = layer * most_faces + face
    face, valid = face[:, None], there[:, None]
    a, b, c = corners_of(face, valid, m, faces, most_faces)
    own_vertices = vertices + layer * most_vertices * 3
    x0, y0, z0 = triple(own_vertices, a, valid)
    x1, y1, z1 = triple(own_vertices, b, valid)
    x2, y2, z2 = triple(own_vertices, c, valid)
    low_x, high_x = bounds_of(x0, x1, x2, reach)
    low_y, high_y = bounds_of(y0, y1, y2, reach)
    area = area_of(x0, y0, x1, y1, x2, y2)
    sound = valid & is_sound(area, low_x, high_x, low_y, high_y, z0, z1, z2)
    shorter = tl.minimum(height, width)
    left, across = pixels_between(low_x, high_x, width, shorter, sound)
    top, down = pixels_between(low_y, high_y, height, shorter, sound)
    number = across * down
    across = tl.maximum(across, 1)
    turn = area < 0.0
    second, third = swapped(turn, 1, 2)
    b, c = swapped(turn, b, c)
    x1, x2 = swapped(turn, x1 - x0, x2 - x0)
    y1, y2 = swapped(turn, y1 - y0, y2 - y0)
    z1, z2 = swapped(turn, z1, z2)
    # What is no face holds one of some size, so that nothing is divided by 0.
    x1, y1, z1 = tl.where(sound, x1, 0.0), tl.where(sound, y1, 1.0), tl.where(sound, z1, 1.0)
    x2, y2, z2 = tl.where(sound, x2, 1.0), tl.where(sound, y2, 0.0), tl.where(sound, z2, 1.0)
    x0, y0, z0 = tl.where(sound, x0, 0.0), tl.where(sound, y0, 0.0), tl.where(sound, z0, 1.0)
    length0, length1, length2 = lengths_of(x1, y1, x2, y2)
    own_colours = colours + layer * most_vertices * 3
    r0, g0, b0 = triple(own_colours, a, valid)
    r1, g1, b1 = triple(own_colours, b, valid)
    r2, g2, b2 = triple(own_colours, c, valid)
    if TEXTURED:
        own_uvs = uvs + m * most_vertices * 2
        first_texel = m * most_rows * most_columns * 3
        rows = tl.load(texture_sizes + m * 2).to(tl.int32)
        columns = tl.load(texture_sizes + m * 2 + 1).to(tl.int32)
        s0, t0 = place_of(own_uvs, a, valid, rows, columns)
        s1, t1 = place_of(own_uvs, b, valid, rows, columns)
        s2, t2 = place_of(own_uvs, c, valid, rows, columns)
    if WANTS_TEXTURES:
        unit = tl.load(texture_unit)

    zero = tl.zeros((FACES, PIXELS), dtype)
    dx0, dy0, dz0, dr0, dg0, db0 = zero, zero, zero, zero, zero, zero
    dx1, dy1, dz1, dr1, dg1, db1 = zero, zero, zero, zero, zero, zero
    dx2, dy2, dz2, dr2, dg2, db2 = zero, zero, zero, zero, zero, zero
    ds0, dt0, ds1, dt1, ds2, dt2 = zero, zero, zero, zero, zero, zero
    for first in range(0, tl.max(number), PIXELS):
        place = first + tl.arange(0, PIXELS)[None, :]
        row, column = top + place // across, left + place % across
        x = centre(column, width, shorter, dtype) - x0
        y = centre(row, height, shorter, dtype) - y0
        d0, d1, d2, foot0, foot1, foot2, distance0, distance1, distance = outline_of(
            x, y, x1, y1, x2, y2, length0, length1, length2
        )
        w0, w1, w2, scale, known = shares_of(d0, d1, d2, length0, length1, length2, z0, z1, z2)
        inside = tl.minimum(tl.minimum(d0, d1), d2) > 0.0
        signed = tl.where(inside, distance, -distance) * inv_sigma
        hit = sound & (place < number) & known & (signed > faintest)
        pixel = (layer * height + row) * width + column
        log_sum = tl.load(log_weight + pixel, mask=hit, other=float("-inf"))
        hit = hit & (log_sum > float("-inf"))
        covered = tl.where(hit, 1.0 / (1.0 + odds_of(signed)), 0.0)
        z = w0 * z0 + w1 * z1 + w2 * z2
        ahead = tl.where(hit, nearest - fall * z - log_sum, HIDDEN)
        share = covered * tl.exp(tl.minimum(tl.maximum(ahead, HIDDEN), FAINT))

        up_red, up_green, up_blue = triple(grad_colour, pixel, hit)
        red, green, blue = triple(colour, pixel, hit)
        up_weight = tl.load(grad_log_weight + pixel, mask=hit, other=0.0)
        up_weight -= up_red * red + up_green * green + up_blue * blue
        opaque_here = tl.load(log_transmittance + pixel, mask=hit, other=0.0) <= opaque
        up_clear = tl.load(grad_log_transmittance + pixel, mask=hit & ~opaque_here, other=0.0)
        if WITH_DEPTH:
            up_depth = tl.load(grad_depth + pixel, mask=hit, other=0.0)
            up_weight -= up_depth * tl.load(depth + pixel, mask=hit, other=0.0)
            up_weight += up_depth * z
        if TEXTURED:
            s, t = w0 * s0 + w1 * s1 + w2 * s2, w0 * t0 + w1 * t1 + w2 * t2
            seen = hit & (ahead > HIDDEN)
            (
                tex_red, tex_green, tex_blue, right_red, right_green, right_blue,
                down_red, down_green, down_blue,
            ) = show(textures + first_texel, rows, columns, most_columns, s, t, seen)  # fmt: skip
            # Of the texel and of the place on the texture, but for the fragment's share.
            by_red = up_red * (w0 * r0 + w1 * r1 + w2 * r2)
            by_green = up_green * (w0 * g0 + w1 * g1 + w2 * g2)
            by_blue = up_blue * (w0 * b0 + w1 * b1 + w2 * b2)
            up_s = by_red * right_red + by_green * right_green + by_blue * right_blue
            up_t = by_red * down_red + by_green * down_green + by_blue * down_blue
            up_red, up_green, up_blue = up_red * tex_red, up_green * tex_green, up_blue * tex_blue
            if WANTS_TEXTURES:
                spread(
                    grad_textures + first_texel, rows, columns, most_columns, s, t, seen,
                    share * by_red, share * by_green, share * by_blue, unit,
                )  # fmt: skip
        up0 = up_red * r0 + up_green * g0 + up_blue * b0
        up1 = up_red * r1 + up_green * g1 + up_blue * b1
        up2 = up_red * r2 + up_green * g2 + up_blue * b2
        # Of the logarithm of the fragment's weight, then of its signed distance and its depth.
        up_weight = (up_weight + up0 * w0 + up1 * w1 + up2 * w2) * share
        up_signed = up_weight - covered * (up_weight + up_clear)
        up_z = -fall * up_weight
        if WITH_DEPTH:
            up_z += share * up_depth
        up_red, up_green, up_blue = up_red * share, up_green * share, up_blue * share
        dr0, dg0, db0 = dr0 + up_red * w0, dg0 + up_green * w0, db0 + up_blue * w0
        dr1, dg1, db1 = dr1 + up_red * w1, dg1 + up_green * w1, db1 + up_blue * w1
        dr2, dg2, db2 = dr2 + up_red * w2, dg2 + up_green * w2, db2 + up_blue * w2
        if TEXTURED:
            up0 += s0 * up_s + t0 * up_t
            up1 += s1 * up_s + t1 * up_t
            up2 += s2 * up_s + t2 * up_t
            up_s, up_t = share * up_s, share * up_t
            ds0, dt0 = ds0 + up_s * w0, dt0 + up_t * w0
            ds1, dt1 = ds1 + up_s * w1, dt1 + up_t * w1
            ds2, dt2 = ds2 + up_s * w2, dt2 + up_t * w2
        # Of w, through its normalisation, and as q_i goes with 1 / z_i, of z.
        up0, up1, up2 = share * up0 + up_z * z0, share * up1 + up_z * z1, share * up2 + up_z * z2
        mean = up0 * w0 + up1 * w1 + up2 * w2
        up0, up1, up2 = up0 - mean, up1 - mean, up2 - mean
        dz0 += w0 * (up_z - up0 / z0)
        dz1 += w1 * (up_z - up1 / z1)
        dz2 += w2 * (up_z - up2 / z2)
        # Of the edge functions, where they are positive.
        up0 = tl.where(hit & (d0 > 0.0), up0 * scale * (z1 * z2), 0.0)
        up1 = tl.where(hit & (d1 > 0.0), up1 * scale * (z0 * z2), 0.0)
        up2 = tl.where(hit & (d2 > 0.0), up2 * scale * (z0 * z1), 0.0)
        # Of the nearest point of the outline, a mixture f of the corners; by the envelope theorem
        # f is constant.
        way0, way1, way2 = foot0 / length0, 1.0 + foot1 / length1, foot2 / length2
        on0, on1 = distance == distance0, distance == distance1
        f0 = tl.where(on0, 0.0, tl.where(on1, way1, 1.0 - way2))
        f1 = tl.where(on0, 1.0 - way0, tl.where(on1, 0.0, way2))
        f2 = tl.where(on0, way0, tl.where(on1, 1.0 - way1, 0.0))
        pull = tl.where(inside, up_signed, -up_signed) * (-2.0 * inv_sigma)
        pull_x, pull_y = pull * (x - f1 * x1 - f2 * x2), pull * (y - f1 * y1 - f2 * y2)
        bx, by, cx, cy = x - x1, y - y1, x - x2, y - y2
        dx0, dy0 = dx0 + up2 * by - up1 * cy + f0 * pull_x, dy0 + up1 * cx - up2 * bx + f0 * pull_y
        dx1, dy1 = dx1 + up0 * cy - up2 * y + f1 * pull_x, dy1 + up2 * x - up0 * cx + f1 * pull_y
        dx2, dy2 = dx2 + up1 * y - up0 * by + f2 * pull_x, dy2 + up0 * bx - up1 * x + f2 * pull_y

    second = tl.reshape(tl.broadcast_to(second, (FACES, 1)), (FACES,))
    third = tl.reshape(tl.broadcast_to(third, (FACES, 1)), (FACES,))
    store_corner(grad_corners, at, 0, QUANTITIES, there, dx0, dy0, dz0, dr0, dg0, db0)
    store_corner(grad_corners, at, second, QUANTITIES, there, dx1, dy1, dz1, dr1, dg1, db1)
    store_corner(grad_corners, at, third, QUANTITIES, there, dx2, dy2, dz2, dr2, dg2, db2)
    if TEXTURED:
        per_u, per_v = (columns - 1).to(dtype), (1 - rows).to(dtype)
        store_sum(grad_corners, at, 0, 6, QUANTITIES, there, ds0 * per_u)
        store_sum(grad_corners, at, 0, 7, QUANTITIES, there, dt0 * per_v)
        store_sum(grad_corners, at, second, 6, QUANTITIES, there, ds1 * per_u)
        store_sum(grad_corners, at, second, 7, QUANTITIES, there, dt1 * per_v)
        store_sum(grad_corners, at, third, 6, QUANTITIES, there, ds2 * per_u)
        store_sum(grad_corners, at, third, 7, QUANTITIES, there, dt2 * per_v)
