"""Triton kernels that project and light vertices, and take the gradients of both back."""

import triton
import triton.language as tl

from air3d.render.cuda.face_kernels import MIN_DEPTH, TINY, triple


@triton.jit
def own_vertices(layer, block, mesh, num_vertices, num_meshes, VERTICES: tl.constexpr):
    """Return a layer's mesh, some of its vertices, and which of them are there."""
    m = tl.load(mesh + layer)
    exists = (m >= 0) & (m < num_meshes)
    m = tl.where(exists, m, 0).to(tl.int64)
    count = tl.load(num_vertices + m, mask=exists, other=0)
    vertex = block * VERTICES + tl.arange(0, VERTICES)
    return m, vertex, vertex < count


@triton.jit
def to_lamp(source, layer, x, y, z):
    """Return unit vectors from vertices to the lamp, one over their distances, and its weight.

    All 0 where the lamp is at the vertex, or too far for the precision.
    """
    weight = tl.load(source + layer * 4 + 3)
    x = tl.load(source + layer * 4) - weight * x
    y = tl.load(source + layer * 4 + 1) - weight * y
    z = tl.load(source + layer * 4 + 2) - weight * z
    squared = x * x + y * y + z * z
    known = (squared > TINY) & (squared < float("inf"))
    near = tl.where(known, 1.0 / tl.sqrt(tl.where(known, squared, 1.0)), 0.0)
    return (
        tl.where(known, x * near, 0.0),
        tl.where(known, y * near, 0.0),
        tl.where(known, z * near, 0.0),
        near,
        weight,
    )


@triton.jit
def row_of(to_ndc, layer, axis):
    """Return a row of a layer's projection."""
    at = to_ndc + layer * 12 + axis * 4
    return tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)


@triton.jit
def project(
    to_ndc, source, ambient, diffuse, vertices, normals, colours, num_vertices, mesh,
    projected, lit, num_meshes, most_vertices, VERTICES: tl.constexpr,
):  # fmt: skip
    """Fill some of a layer's vertices in NDC, and their colours under the light.

    Program ``layer * blocks + block``; what is no vertex is 0.
    """
    blocks = (most_vertices + VERTICES - 1) // VERTICES
    layer, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    m, vertex, there = own_vertices(layer, block, mesh, num_vertices, num_meshes, VERTICES)
    x, y, z = triple(vertices + m * most_vertices * 3, vertex, there)
    ax, ay, az, at = row_of(to_ndc, layer, 0)
    bx, by, bz, bt = row_of(to_ndc, layer, 1)
    cx, cy, cz, ct = row_of(to_ndc, layer, 2)
    across, up = ax * x + ay * y + az * z + at, bx * x + by * y + bz * z + bt
    depth = cx * x + cy * y + cz * z + ct
    safe = tl.where(depth >= MIN_DEPTH, depth, 1.0)
    room = vertex < most_vertices
    place = (layer * most_vertices + vertex) * 3
    tl.store(projected + place, tl.where(there, across / safe, 0.0), mask=room)
    tl.store(projected + place + 1, tl.where(there, up / safe, 0.0), mask=room)
    tl.store(projected + place + 2, tl.where(there, depth, 0.0), mask=room)
    lamp_x, lamp_y, lamp_z, _, _ = to_lamp(source, layer, x, y, z)
    nx, ny, nz = triple(normals + m * most_vertices * 3, vertex, there)
    facing = tl.maximum(nx * lamp_x + ny * lamp_y + nz * lamp_z, 0.0)
    for channel in tl.static_range(3):
        strength = tl.load(diffuse + layer * 3 + channel)
        shade = tl.load(ambient + layer * 3 + channel) + strength * facing
        own = colours + (m * most_vertices + vertex) * 3 + channel
        tl.store(lit + place + channel, tl.load(own, mask=there, other=0.0) * shade, mask=room)


@triton.jit
def store_vector(values, at, x, y, z, mask):
    """Write three numbers of each vertex."""
    tl.store(values + at, x, mask=mask)
    tl.store(values + at + 1, y, mask=mask)
    tl.store(values + at + 2, z, mask=mask)


@triton.jit
def project_backward(
    to_ndc, source, ambient, diffuse, vertices, normals, colours, num_vertices, mesh,
    projected, grad_projected, grad_lit,
    grad_to_ndc, grad_source, grad_ambient, grad_diffuse, grad_bank,
    num_meshes, most_vertices, WANTS_BANK: tl.constexpr, VERTICES: tl.constexpr,
):  # fmt: skip
    """Fill a layer's gradients, summed over its vertices in float64; program ``layer``.

    And if they are wanted those of its mesh's vertices, normals and colours [layer, vertex, 9],
    which :func:`sum_by_mesh` has to sum.
    """
    layer = tl.program_id(0).to(tl.int64)
    zero = tl.zeros((VERTICES,), tl.float64)
    ax, ay, az, at, bx, by, bz, bt = zero, zero, zero, zero, zero, zero, zero, zero
    cx, cy, cz, ct, sx, sy, sz, sw = zero, zero, zero, zero, zero, zero, zero, zero
    ambient0, ambient1, ambient2, diffuse0, diffuse1, diffuse2 = zero, zero, zero, zero, zero, zero
    pxx, pxy, pxz, _ = row_of(to_ndc, layer, 0)
    pyx, pyy, pyz, _ = row_of(to_ndc, layer, 1)
    pzx, pzy, pzz, _ = row_of(to_ndc, layer, 2)
    for block in range(0, (most_vertices + VERTICES - 1) // VERTICES):
        m, vertex, there = own_vertices(layer, block, mesh, num_vertices, num_meshes, VERTICES)
        place = layer * most_vertices + vertex
        x, y, z = triple(vertices + m * most_vertices * 3, vertex, there)
        across, up, depth = triple(projected, place, there)
        up_x, up_y, up_z = triple(grad_projected, place, there)
        # A vertex that no gradient reaches may be beyond every number.
        moved = there & (depth >= MIN_DEPTH) & ((up_x != 0.0) | (up_y != 0.0) | (up_z != 0.0))
        safe = tl.where(moved, depth, 1.0)
        up_x, up_y = tl.where(moved, up_x / safe, 0.0), tl.where(moved, up_y / safe, 0.0)
        up_z = tl.where(moved, up_z - (up_x * across + up_y * up), 0.0)
        ax, ay, az, at = ax + up_x * x, ay + up_x * y, az + up_x * z, at + up_x
        bx, by, bz, bt = bx + up_y * x, by + up_y * y, bz + up_y * z, bt + up_y
        cx, cy, cz, ct = cx + up_z * x, cy + up_z * y, cz + up_z * z, ct + up_z

        lamp_x, lamp_y, lamp_z, near, weight = to_lamp(source, layer, x, y, z)
        nx, ny, nz = triple(normals + m * most_vertices * 3, vertex, there)
        cosine = nx * lamp_x + ny * lamp_y + nz * lamp_z
        facing = tl.maximum(cosine, 0.0)
        own0, own1, own2 = triple(colours + m * most_vertices * 3, vertex, there)
        up0, up1, up2 = triple(grad_lit, place, there)
        by0, by1, by2 = up0 * own0, up1 * own1, up2 * own2
        ambient0, ambient1, ambient2 = ambient0 + by0, ambient1 + by1, ambient2 + by2
        diffuse0, diffuse1 = diffuse0 + by0 * facing, diffuse1 + by1 * facing
        diffuse2 += by2 * facing
        strength0, strength1, strength2 = triple(diffuse, layer, True)
        by_cosine = by0 * strength0 + by1 * strength1 + by2 * strength2
        by_cosine = tl.where(there & (cosine > 0.0), by_cosine, 0.0)
        pull_x = by_cosine * near * (nx - cosine * lamp_x)
        pull_y = by_cosine * near * (ny - cosine * lamp_y)
        pull_z = by_cosine * near * (nz - cosine * lamp_z)
        sx, sy, sz = sx + pull_x, sy + pull_y, sz + pull_z
        sw -= pull_x * x + pull_y * y + pull_z * z
        if WANTS_BANK:
            room = vertex < most_vertices
            to_x = up_x * pxx + up_y * pyx + up_z * pzx - pull_x * weight
            to_y = up_x * pxy + up_y * pyy + up_z * pzy - pull_y * weight
            to_z = up_x * pxz + up_y * pyz + up_z * pzz - pull_z * weight
            store_vector(grad_bank, place * 9, to_x, to_y, to_z, room)
            to_x, to_y, to_z = by_cosine * lamp_x, by_cosine * lamp_y, by_cosine * lamp_z
            store_vector(grad_bank, place * 9 + 3, to_x, to_y, to_z, room)
            ambient_x, ambient_y, ambient_z = triple(ambient, layer, True)
            to_x = up0 * (ambient_x + strength0 * facing)
            to_y = up1 * (ambient_y + strength1 * facing)
            to_z = up2 * (ambient_z + strength2 * facing)
            store_vector(grad_bank, place * 9 + 6, to_x, to_y, to_z, room)

    store_row(grad_to_ndc + layer * 12, ax, ay, az, at)
    store_row(grad_to_ndc + layer * 12 + 4, bx, by, bz, bt)
    store_row(grad_to_ndc + layer * 12 + 8, cx, cy, cz, ct)
    store_row(grad_source + layer * 4, sx, sy, sz, sw)
    store_strengths(grad_ambient + layer * 3, ambient0, ambient1, ambient2)
    store_strengths(grad_diffuse + layer * 3, diffuse0, diffuse1, diffuse2)


@triton.jit
def store_row(values, x, y, z, w):
    """Write four sums."""
    store_strengths(values, x, y, z)
    tl.store(values + 3, tl.sum(w, axis=0))


@triton.jit
def store_strengths(values, x, y, z):
    """Write three sums."""
    tl.store(values, tl.sum(x, axis=0))
    tl.store(values + 1, tl.sum(y, axis=0))
    tl.store(values + 2, tl.sum(z, axis=0))
