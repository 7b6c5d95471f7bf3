"""Numba kernels that express fragments of cut faces by the whole faces.

The maps of fragments are flat and divided into equal parts, each of which belongs to one call
alone; so results do not depend on the number of threads. Slots 2f and 2f + 1 belong to face f.
"""

from numba import njit


@njit(nogil=True, cache=True)
def to_whole_faces(start, stop, parts, slots, bary, on_face, place, bary_on_face, pix_to_face):
    """Fill parts start..stop of the outputs; ``place`` is -1 for slots that hold uncut faces."""
    for k in range(len(slots) * start // parts, len(slots) * stop // parts):
        slot = slots[k]
        pix_to_face[k] = slot >> 1  # -1 stays -1
        b0, b1, b2 = bary[3 * k], bary[3 * k + 1], bary[3 * k + 2]
        if slot < 0 or place[slot] < 0:
            bary_on_face[3 * k] = b0
            bary_on_face[3 * k + 1] = b1
            bary_on_face[3 * k + 2] = b2
        else:
            for i in range(3):
                a0, a1, a2 = on_face[slot, 0, i], on_face[slot, 1, i], on_face[slot, 2, i]
                bary_on_face[3 * k + i] = b0 * a0 + b1 * a1 + b2 * a2


@njit(nogil=True, cache=True)
def to_whole_faces_backward(
    start, stop, parts, slots, bary, on_face, place, upstream, grad_bary, sums
):
    """Fill parts start..stop of the gradients: of ``bary``, and of cut faces [part, place, 9]."""
    sums[start:stop] = 0.0
    for part in range(start, stop):
        for k in range(len(slots) * part // parts, len(slots) * (part + 1) // parts):
            slot = slots[k]
            g0, g1, g2 = upstream[3 * k], upstream[3 * k + 1], upstream[3 * k + 2]
            if slot < 0 or place[slot] < 0:
                grad_bary[3 * k] = g0
                grad_bary[3 * k + 1] = g1
                grad_bary[3 * k + 2] = g2
                continue
            for corner in range(3):
                a0, a1 = on_face[slot, corner, 0], on_face[slot, corner, 1]
                grad_bary[3 * k + corner] = a0 * g0 + a1 * g1 + on_face[slot, corner, 2] * g2
                weight = float(bary[3 * k + corner])
                sums[part, place[slot], 3 * corner] += weight * g0
                sums[part, place[slot], 3 * corner + 1] += weight * g1
                sums[part, place[slot], 3 * corner + 2] += weight * g2
