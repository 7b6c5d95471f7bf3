"""Numba kernels that project and light vertices; see ``layer_kernels`` for their common rules.

Each does all layers in one call, as the instances of a mesh share its gradients, which are
summed in float64, whatever the rest is.
"""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
TINY = np.float32(1e-30)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)
MIN_DEPTH = np.float32(1e-3)


@njit(nogil=True, cache=True)
def project(
    num_vertices, mesh, to_ndc, source, ambient, diffuse, vertices, normals, colours,
    projected, lit,
):  # fmt: skip
    """Fill every layer's vertices in NDC and their colours under the light."""
    for layer in range(len(mesh)):
        projected[layer] = ZERO
        lit[layer] = ZERO
        m = mesh[layer]
        for v in range(num_vertices[m] if m >= 0 else 0):
            x, y, z = vertices[m, v, 0], vertices[m, v, 1], vertices[m, v, 2]
            for axis in range(3):
                row = to_ndc[layer, axis]
                projected[layer, v, axis] = row[0] * x + row[1] * y + row[2] * z + row[3]
            depth = projected[layer, v, 2]
            if depth >= MIN_DEPTH:
                projected[layer, v, 0] /= depth
                projected[layer, v, 1] /= depth
            _, _, _, _, cosine = _to_lamp(normals, vertices, m, v, source, layer)
            for channel in range(3):
                shade = ambient[layer, channel] + diffuse[layer, channel] * max(cosine, ZERO)
                lit[layer, v, channel] = colours[m, v, channel] * shade


@njit(nogil=True, cache=True)
def _to_lamp(normals, vertices, m, v, source, layer):
    """Unit vector from a vertex to the lamp, one over their distance, and its cosine to the normal.

    All 0 where the lamp is at the vertex, or too far for the precision.
    """
    x = source[layer, 0] - source[layer, 3] * vertices[m, v, 0]
    y = source[layer, 1] - source[layer, 3] * vertices[m, v, 1]
    z = source[layer, 2] - source[layer, 3] * vertices[m, v, 2]
    squared = x * x + y * y + z * z
    if not TINY < squared < INFINITY:
        return ZERO, ZERO, ZERO, ZERO, ZERO
    near = ONE / math.sqrt(squared)
    x, y, z = x * near, y * near, z * near
    return x, y, z, near, normals[m, v, 0] * x + normals[m, v, 1] * y + normals[m, v, 2] * z


@njit(nogil=True, cache=True)
def _reached(grad_projected, layer, v):
    """Whether a vertex has a gradient at all; one that has none may be beyond every number."""
    return (
        grad_projected[layer, v, 0] != ZERO
        or grad_projected[layer, v, 1] != ZERO
        or grad_projected[layer, v, 2] != ZERO
    )


@njit(nogil=True, cache=True)
def project_backward(
    num_vertices, mesh, to_ndc, source, ambient, diffuse, vertices, normals, colours,
    projected, grad_projected, grad_lit,
    grad_to_ndc, grad_source, grad_ambient, grad_diffuse,
    grad_vertices, grad_normals, grad_colours,
):  # fmt: skip
    """Add to the gradients, which are float64."""
    for layer in range(len(mesh)):
        m = mesh[layer]
        for v in range(num_vertices[m] if m >= 0 else 0):
            depth = projected[layer, v, 2]
            if depth >= MIN_DEPTH and _reached(grad_projected, layer, v):
                grad_x = grad_projected[layer, v, 0] / depth
                grad_y = grad_projected[layer, v, 1] / depth
                grad_z = grad_projected[layer, v, 2] - (
                    grad_x * projected[layer, v, 0] + grad_y * projected[layer, v, 1]
                )
                for axis in range(3):
                    grad_to_ndc[layer, 0, axis] += grad_x * vertices[m, v, axis]
                    grad_to_ndc[layer, 1, axis] += grad_y * vertices[m, v, axis]
                    grad_to_ndc[layer, 2, axis] += grad_z * vertices[m, v, axis]
                    grad_vertices[m, v, axis] += (
                        grad_x * to_ndc[layer, 0, axis]
                        + grad_y * to_ndc[layer, 1, axis]
                        + grad_z * to_ndc[layer, 2, axis]
                    )
                grad_to_ndc[layer, 0, 3] += grad_x
                grad_to_ndc[layer, 1, 3] += grad_y
                grad_to_ndc[layer, 2, 3] += grad_z
            x, y, z, near, cosine = _to_lamp(normals, vertices, m, v, source, layer)
            facing = max(cosine, ZERO)
            grad_cosine = ZERO
            for channel in range(3):
                upstream = grad_lit[layer, v, channel]
                strength = diffuse[layer, channel]
                grad_colours[m, v, channel] += upstream * (
                    ambient[layer, channel] + strength * facing
                )
                coloured = upstream * colours[m, v, channel]
                grad_ambient[layer, channel] += coloured
                grad_diffuse[layer, channel] += coloured * facing
                grad_cosine += coloured * strength
            if cosine > ZERO:
                unit = (x, y, z)
                for axis in range(3):
                    grad_normals[m, v, axis] += grad_cosine * unit[axis]
                    pull = grad_cosine * near * (normals[m, v, axis] - cosine * unit[axis])
                    grad_source[layer, axis] += pull
                    grad_source[layer, 3] -= pull * vertices[m, v, axis]
                    grad_vertices[m, v, axis] -= pull * source[layer, 3]
