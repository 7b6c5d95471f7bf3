"""The scene file's table as flat tiles, for viewers that draw meshes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from air3d.scene.spec import TableSpec

MOST = 10_000
"""Tiles beyond which a checkerboard is drawn in its mean colour: finer than any viewer shows."""


@dataclass(frozen=True)
class Tiles:
    """Rectangles in the plane z = 0, two faces each, seen from above.

    Attributes:
        vertices: [4 n, 3], metres.
        faces: [2 n, 3].
        colours: of the vertices [4 n, 3] in [0, 1], before lighting.
    """

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    colours: Float[np.ndarray, "vertex 3"]


def tiles_of(table: TableSpec) -> Tiles:
    """Cut a table along its checkerboard's lines; one of a single colour stays whole."""
    pair = np.array([table.colour, table.second_colour or table.colour])
    sides = 2 * np.array(table.half_extents)
    if table.second_colour is None or (sides / table.square).prod() > MOST:
        x, y = (np.array(_ends(table, axis)) for axis in (0, 1))
        return _rectangles(x, y, pair.mean(axis=0).reshape(1, 1, 3))
    x, y = (_cuts(table, axis) for axis in (0, 1))
    column, row = (np.floor(0.5 * (cuts[:-1] + cuts[1:]) / table.square) for cuts in (x, y))
    odd = (column[:, None] + row) % 2
    return _rectangles(x, y, pair[odd.astype(int)])


def _ends(table: TableSpec, axis: int) -> tuple[float, float]:
    middle, half = table.centre[axis], table.half_extents[axis]
    return middle - half, middle + half


def _cuts(table: TableSpec, axis: int) -> Float[np.ndarray, " cut"]:
    """Return where tiles begin and end along an axis: at the ends, and between the squares."""
    low, high = _ends(table, axis)
    first, last = np.floor(low / table.square) + 1, np.ceil(high / table.square) - 1
    return np.array([low, *(table.square * np.arange(first, last + 1)), high])


def _rectangles(
    x: Float[np.ndarray, " x"], y: Float[np.ndarray, " y"], colours: Float[np.ndarray, "x1 y1 3"]
) -> Tiles:
    corners = [(x[:-1], y[:-1]), (x[1:], y[:-1]), (x[1:], y[1:]), (x[:-1], y[1:])]
    flat = np.stack([np.stack(np.meshgrid(*c, indexing="ij"), axis=-1) for c in corners], axis=2)
    flat = flat.reshape(-1, 2)
    first = 4 * np.arange(len(flat) // 4)[:, None]
    faces = np.concatenate([first + [0, 1, 2], first + [0, 2, 3]])
    vertices = np.column_stack([flat, np.zeros(len(flat))])
    return Tiles(vertices, faces, np.repeat(colours.reshape(-1, 3), 4, axis=0))
