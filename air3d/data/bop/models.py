"""The ``models`` folder of a BOP data set: meshes in millimetres and their symmetries."""

import math
from collections.abc import Sequence
from pathlib import Path

from air3d.data.errors import DataError
from air3d.data.record import read_json
from air3d.files import to_json, write_atomically
from air3d.scene import Mesh, mesh_to_ply

_MILLIMETRES = 1000.0


def write_models(folder: Path, meshes: Sequence[Mesh]) -> None:
    """Write ``obj_00000N.ply`` (N = identity + 1) and ``models_info.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    info = {}
    for number, mesh in enumerate(meshes, start=1):
        write_atomically(folder / f"obj_{number:06d}.ply", mesh_to_ply(mesh, scale=_MILLIMETRES))
        info[str(number)] = _describe(mesh)
    write_atomically(folder / "models_info.json", to_json(info))


def check_models(folder: Path) -> frozenset[int]:
    """Return the object numbers that a ``models`` folder holds.

    Raises:
        DataError: the folder, its ``models_info.json`` or a mesh listed there is missing.
    """
    path = folder / "models_info.json"
    if not path.is_file():
        raise DataError(f"{path}: is missing; copy the whole data set, its models folder too")
    numbers = frozenset(int(number) for number in read_json(path))
    for number in sorted(numbers):
        mesh_path = folder / f"obj_{number:06d}.ply"
        if not mesh_path.is_file():
            raise DataError(f"{mesh_path}: is missing, though {path.name} lists it; copy it there")
    return numbers


def _describe(mesh: Mesh) -> dict:
    """Return a mesh's entry in ``models_info.json`` (millimetres)."""
    points = mesh.vertices.double() * _MILLIMETRES
    low, size = points.amin(dim=0), points.amax(dim=0) - points.amin(dim=0)
    entry: dict = {"diameter": mesh.diameter * _MILLIMETRES}
    entry |= {f"min_{axis}": float(value) for axis, value in zip("xyz", low, strict=True)}
    entry |= {f"size_{axis}": float(value) for axis, value in zip("xyz", size, strict=True)}
    if mesh.yaw_symmetry == "continuous":
        entry["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]
    elif mesh.yaw_symmetry > 1:
        turns = range(1, mesh.yaw_symmetry)
        entry["symmetries_discrete"] = [_turn(turn / mesh.yaw_symmetry) for turn in turns]
    return entry


def _turn(fraction: float) -> list[float]:
    """Return a part of a full turn about z as a row-major 4x4 matrix."""
    cos, sin = math.cos(2 * math.pi * fraction), math.sin(2 * math.pi * fraction)
    return [cos, -sin, 0.0, 0.0, sin, cos, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
