"""Triton functions that look texels up, and sum their gradients; see ``face_kernels``.

A texel's gradient is a sum over pixels, faces and layers that run in any order. So it is made of
whole numbers, multiples of a unit that the largest possible gradient sets: their sum is the same
in any order, as that of floating numbers is not.
"""

import triton
import triton.language as tl

from air3d.render.cuda.face_kernels import HUGE


@triton.jit
def place_of(uvs, vertex, there, rows, columns):
    """Return vertices' places on a texture, to the right and down, in texels."""
    u = tl.load(uvs + vertex * 2, mask=there, other=0.0)
    v = tl.load(uvs + vertex * 2 + 1, mask=there, other=0.0)
    right = u * (columns - 1).to(u.dtype)
    down = (1.0 - v) * (rows - 1).to(v.dtype)
    return (
        tl.minimum(tl.maximum(right, -HUGE), HUGE),
        tl.minimum(tl.maximum(down, -HUGE), HUGE),
    )


@triton.jit
def between(place, size):
    """Return the texels before and after places, the way from one to the other, and who follows.

    Beyond the outermost texels it stays where it is. Any number, NaN too, gives texels that exist.
    """
    last = tl.maximum(size - 1, 0)
    end = last.to(place.dtype)
    follows = (place > 0.0) & (place < end)
    place = tl.where(place > 0.0, place, 0.0)
    place = tl.where(place < end, place, end)
    before = place.to(tl.int32)
    return before, tl.minimum(before + 1, last), place - before.to(place.dtype), follows


@triton.jit
def texel(texture, channel, seen, top, bottom, left, right, across, down, row_length):
    """Return what places show of one channel, and how it changes to the right and downward."""
    here = tl.load(texture + (top * row_length + left) * 3 + channel, mask=seen, other=0.0)
    over = tl.load(texture + (top * row_length + right) * 3 + channel, mask=seen, other=0.0)
    below = tl.load(texture + (bottom * row_length + left) * 3 + channel, mask=seen, other=0.0)
    under = tl.load(texture + (bottom * row_length + right) * 3 + channel, mask=seen, other=0.0)
    over, under = over - here, under - below
    upper, lower = here + across * over, below + across * under
    return upper + down * (lower - upper), over + down * (under - over), lower - upper


@triton.jit
def show(texture, rows, columns, row_length, s, t, seen):
    """Return the colours at places (s, t) of a texture, and their slopes to the right and down.

    Black where it is not ``seen``; white where the mesh has no texture.
    """
    left, right, across, goes = between(s, columns)
    top, bottom, down, sinks = between(t, rows)
    seen = seen & (rows > 0)
    red, right_red, down_red = texel(
        texture, 0, seen, top, bottom, left, right, across, down, row_length
    )
    green, right_green, down_green = texel(
        texture, 1, seen, top, bottom, left, right, across, down, row_length
    )
    blue, right_blue, down_blue = texel(
        texture, 2, seen, top, bottom, left, right, across, down, row_length
    )
    red = tl.where(rows > 0, red, 1.0)
    green = tl.where(rows > 0, green, 1.0)
    blue = tl.where(rows > 0, blue, 1.0)
    right_red = tl.where(goes, right_red, 0.0)
    right_green = tl.where(goes, right_green, 0.0)
    right_blue = tl.where(goes, right_blue, 0.0)
    down_red = tl.where(sinks, down_red, 0.0)
    down_green = tl.where(sinks, down_green, 0.0)
    down_blue = tl.where(sinks, down_blue, 0.0)
    return (
        red, green, blue, right_red, right_green, right_blue, down_red, down_green, down_blue,
    )  # fmt: skip


@triton.jit
def whole(value, unit):
    """Return the nearest whole number of units."""
    return tl.floor(value.to(tl.float64) / unit + 0.5).to(tl.int64)


@triton.jit
def add_texel(sums, channel, seen, top, bottom, left, right, across, down, row_length, value, unit):
    """Add the gradients of what places show to those of the four texels around them."""
    upper, lower = value * (1.0 - down), value * down
    at = sums + (top * row_length + left) * 3 + channel
    tl.atomic_add(at, whole(upper * (1.0 - across), unit), mask=seen, sem="relaxed")
    at = sums + (top * row_length + right) * 3 + channel
    tl.atomic_add(at, whole(upper * across, unit), mask=seen, sem="relaxed")
    at = sums + (bottom * row_length + left) * 3 + channel
    tl.atomic_add(at, whole(lower * (1.0 - across), unit), mask=seen, sem="relaxed")
    at = sums + (bottom * row_length + right) * 3 + channel
    tl.atomic_add(at, whole(lower * across, unit), mask=seen, sem="relaxed")


@triton.jit
def spread(sums, rows, columns, row_length, s, t, seen, red, green, blue, unit):
    """Add the gradients of the colours at places (s, t) to those of the texture."""
    left, right, across, goes = between(s, columns)
    top, bottom, down, sinks = between(t, rows)
    seen = seen & (rows > 0)
    add_texel(sums, 0, seen, top, bottom, left, right, across, down, row_length, red, unit)
    add_texel(sums, 1, seen, top, bottom, left, right, across, down, row_length, green, unit)
    add_texel(sums, 2, seen, top, bottom, left, right, across, down, row_length, blue, unit)
