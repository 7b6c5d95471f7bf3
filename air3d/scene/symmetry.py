"""Which rotations leave a mesh as it is: found from its surface and its colours."""

import functools
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import trimesh
from jaxtyping import Float

from air3d.scene.assets import Mesh
from air3d.scene.probes import TOLERANCE, Probes, probe, stays_itself
from air3d.scene.symmetry_groups import SymmetryGroup

Z = np.array([0.0, 0.0, 1.0])

NO_AXES = np.zeros((0, 3))

FINEST = 64
"""A mesh counts as round if this part of a full turn and its doubles leave it as it is."""

ODD_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)

SAME_TURN = np.pi / FINEST
"""Turns (radians) that differ by less are one."""


@dataclass(frozen=True)
class _Surface:
    """A mesh by what its symmetry hangs on: the same surface, read again, is not searched again.

    Attributes:
        digest: of its numbers.
        mesh: one that has them.
    """

    digest: bytes
    mesh: Mesh = field(compare=False)

    @classmethod
    def of(cls, mesh: Mesh) -> "_Surface":
        digest = hashlib.blake2b(repr(mesh.diameter).encode())
        for part in (mesh.vertices, mesh.faces, mesh.colours, mesh.uvs, mesh.texture):
            if part is not None:
                digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
                digest.update(part.detach().contiguous().numpy().tobytes())
        return cls(digest.digest(), mesh)


def find_yaw_symmetry(mesh: Mesh) -> int | Literal["continuous"]:
    """Return k of a mesh's k-fold symmetry about its z axis (1: none), or ``"continuous"``.

    Shape and colour (vertex colours times texture) both count, to within ``TOLERANCE`` and
    ``COLOUR_TOLERANCE``; details smaller than ``SPACING`` may go unseen. Symmetries about other
    axes are not looked for: see ``find_symmetry_group``.
    """
    return _yaw_symmetry(_Surface.of(mesh))


@functools.lru_cache(maxsize=64)
def _yaw_symmetry(surface: _Surface) -> int | Literal["continuous"]:
    probes = probe(surface.mesh)
    if not len(probes.points):  # a mesh that is but lines shows nothing
        return 1
    fold = 1
    # Whatever k is, one of these turns is off by half of its k-th of a full turn.
    while fold < FINEST and stays_itself(probes, _turn(Z, 0.5 / fold)):
        fold *= 2
    if fold == FINEST:
        return "continuous"
    for prime in ODD_PRIMES:
        power = prime
        while power <= FINEST and _has_fold(probes, power):
            power *= prime
            fold *= prime
    return fold


def find_symmetry_group(mesh: Mesh) -> SymmetryGroup:
    """Return all rotations about a mesh's origin that leave it as it is.

    What counts as the same is said in ``find_yaw_symmetry``.
    """
    return _symmetry_group(_Surface.of(mesh))


@functools.lru_cache(maxsize=64)
def _symmetry_group(surface: _Surface) -> SymmetryGroup:
    probes = probe(surface.mesh)
    if not len(probes.points):
        return _group([np.eye(3)])
    # Of a solid of revolution the axis is one of its probes' principal axes; of a ball any is.
    _, principal = np.linalg.eigh(probes.points.T @ probes.points)
    round_axes = [axis for axis in principal.T if _is_round(probes, axis)]
    if len(round_axes) > 1:
        return _group([np.eye(3)], np.eye(3))
    if not round_axes:
        turns = _discrete_turns(probes)
        # Three equal principal moments hide an axis; but then corners of a rim turn into others.
        round_axes = [axis for axis in map(_axis_of, turns[1:3]) if _is_round(probes, axis)]
        if not round_axes:
            return _group(turns)
    axis = round_axes[0]
    across = np.linalg.svd(axis[None])[2][1]
    flip = _turn(across, 0.5)
    flips = [np.eye(3), flip] if stays_itself(probes, flip) else [np.eye(3)]
    return _group(flips, axis[None])


def _group(
    turns: list[Float[np.ndarray, "3 3"]],
    axes: Float[np.ndarray, "axis 3"] = NO_AXES,
) -> SymmetryGroup:
    return SymmetryGroup(torch.tensor(np.stack(turns)), torch.tensor(axes))


def _turn(axis: Float[np.ndarray, "3"], share: float) -> Float[np.ndarray, "3 3"]:
    """Return the turn about an axis by a part of a full one."""
    return trimesh.transformations.rotation_matrix(2 * np.pi * share, axis)[:3, :3]


def _has_fold(probes: Probes, fold: int) -> bool:
    """Return whether a turn by a part of a full turn, and its doubles, keep a mesh as it is.

    The turn alone could be near enough to that of another symmetry, as the 11th to the 12th part.
    """
    doubles = range(fold.bit_length())
    return all(stays_itself(probes, _turn(Z, 2**double / fold)) for double in doubles)


def _is_round(probes: Probes, axis: Float[np.ndarray, "3"]) -> bool:
    """Return whether any turn about an axis leaves a mesh as it is."""
    halves = 2.0 ** -np.arange(1, FINEST.bit_length())
    return all(stays_itself(probes, _turn(axis, share)) for share in halves)


def _axis_of(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """Return the axis about which a rotation turns; either of its directions."""
    return np.linalg.svd(rotation - np.eye(3))[2][2]


def _discrete_turns(probes: Probes) -> list[Float[np.ndarray, "3 3"]]:
    """Return the turns that leave a mesh as it is, the identity first, each of them once.

    The point farthest from the origin, and that farthest from the line through both, can only be
    turned to others that are as far away: few rotations come into question.
    """
    turns, generators = [np.eye(3)], []
    for candidate in _candidates(probes):
        if _is_new(candidate, turns) and _keeps(probes, candidate):
            generators.append(candidate)
            for turn in turns:  # the list grows while it is walked through
                products = (turn @ generator for generator in generators)
                turns += [product for product in products if _is_new(product, turns)]
    return turns


def _is_new(turn: Float[np.ndarray, "3 3"], turns: list[Float[np.ndarray, "3 3"]]) -> bool:
    cosine = (np.einsum("tij,ij->t", np.stack(turns), turn) - 1) / 2
    return bool((cosine < np.cos(SAME_TURN)).all())


def _keeps(probes: Probes, turn: Float[np.ndarray, "3 3"]) -> bool:
    """Return whether a turn, its double and so on leave a mesh as it is (see ``_has_fold``)."""
    powers = itertools.accumulate(range(5), lambda power, _: power @ power, initial=turn)
    return all(stays_itself(probes, power) for power in powers)


def _candidates(probes: Probes) -> Iterator[Float[np.ndarray, "3 3"]]:
    """Yield the rotations that take two corners of a mesh to two that are placed alike."""
    corners = probes.corners.reshape(-1, 3)
    near = TOLERANCE * probes.mesh.diameter
    corners = corners[np.unique(np.round(corners / (0.1 * near)), axis=0, return_index=True)[1]]
    distance = np.linalg.norm(corners, axis=1)
    first = corners[distance.argmax()]
    across = np.linalg.norm(np.cross(first, corners), axis=1)
    second = corners[across.argmax()]
    if across.max() <= near * distance.max():
        return
    frame = _frame(first, second)
    for one in corners[distance >= distance.max() - near]:
        alike = np.abs(distance - np.linalg.norm(second)) <= near
        alike &= np.abs(corners @ one - second @ first) <= near * distance.max()
        for other in corners[alike]:
            yield _frame(one, other) @ frame.T


def _frame(first: Float[np.ndarray, "3"], second: Float[np.ndarray, "3"]):
    """Return a rotation whose x axis lies along one vector, and whose xy plane holds another."""
    x = first / np.linalg.norm(first)
    z = np.cross(first, second)
    z /= np.linalg.norm(z)
    return np.column_stack([x, np.cross(z, x), z])
