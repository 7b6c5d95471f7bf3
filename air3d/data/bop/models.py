"""The ``models`` folder of a BOP data set: meshes in millimetres and their symmetries."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from air3d.data.bop.format import MILLIMETRES, to_png
from air3d.data.errors import DataError
from air3d.data.record import read_json
from air3d.files import to_json, write_atomically
from air3d.geometry import rigid_transform
from air3d.scene import Mesh, load_mesh, mesh_to_ply, texture_pixels, textured_mesh_to_ply


def write_models(folder: Path, meshes: Sequence[Mesh]) -> None:
    """Write ``obj_00000N.ply`` (N = identity + 1), ``obj_00000N.png`` and ``models_info.json``.

    The image is the texture of a textured mesh, times the mean of its vertex colours (white
    mostly): BOP's models have the one or the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info = {}
    for number, mesh in enumerate(meshes, start=1):
        _write_mesh(_mesh_path(folder, number), mesh)
        info[str(number)] = _describe(mesh)
    write_atomically(_info_path(folder), to_json(info))


def check_models(folder: Path) -> frozenset[int]:
    """Return the object numbers that a ``models`` folder holds.

    Raises:
        DataError: the folder, its ``models_info.json`` or a mesh listed there is missing.
    """
    numbers = frozenset(_read_info(folder))
    for number in sorted(numbers):
        mesh_path = _mesh_path(folder, number)
        if not mesh_path.is_file():
            listing = _info_path(folder).name
            raise DataError(f"{mesh_path}: is missing, though {listing} lists it; copy it there")
    return numbers


def read_model(folder: Path, number: int) -> Mesh:
    """Read object ``number`` (identity + 1) of a ``models`` folder, in metres.

    Its ``yaw_symmetry`` is 1, whatever symmetries ``models_info.json`` tells of.

    Raises:
        MeshFileError: the mesh is missing or cannot be used.
    """
    mesh = load_mesh(_mesh_path(folder, number))
    return dataclasses.replace(
        mesh, vertices=mesh.vertices / MILLIMETRES, diameter=mesh.diameter / MILLIMETRES
    )


def read_diameters(folder: Path) -> dict[int, float]:
    """Return the diameters (metres) by object number that ``models_info.json`` states.

    Raises:
        DataError: the file is missing or damaged, or an object has no diameter there.
    """
    diameters = {}
    for number, entry in _read_info(folder).items():
        try:
            diameters[number] = float(entry["diameter"]) / MILLIMETRES
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{_info_path(folder)}: has no diameter of object {number}; "
                "render or download the data set anew"
            ) from error
    return diameters


def _info_path(folder: Path) -> Path:
    return folder / "models_info.json"


def _mesh_path(folder: Path, number: int) -> Path:
    return folder / f"obj_{number:06d}.ply"


def _write_mesh(path: Path, mesh: Mesh) -> None:
    if mesh.texture is None:
        write_atomically(path, mesh_to_ply(mesh, scale=MILLIMETRES))
        return
    image = path.with_suffix(".png")
    tinted = dataclasses.replace(mesh, texture=mesh.texture * mesh.colours.mean(dim=0))
    write_atomically(image, to_png(texture_pixels(tinted)))
    write_atomically(path, textured_mesh_to_ply(mesh, image.name, scale=MILLIMETRES))


def _read_info(folder: Path) -> dict[int, dict]:
    """Return the entries of ``models_info.json`` by object number."""
    path = _info_path(folder)
    if not path.is_file():
        raise DataError(f"{path}: is missing; copy the whole data set, its models folder too")
    content = read_json(path)
    try:
        return {int(number): entry for number, entry in content.items()}
    except ValueError as error:
        raise DataError(
            f"{path}: names an object that is no number ({error}); copy it anew"
        ) from error


def _describe(mesh: Mesh) -> dict:
    """Return a mesh's entry in ``models_info.json`` (millimetres)."""
    points = mesh.vertices.double() * MILLIMETRES
    low, size = points.amin(dim=0), points.amax(dim=0) - points.amin(dim=0)
    entry: dict = {"diameter": mesh.diameter * MILLIMETRES}
    entry |= {f"min_{axis}": float(value) for axis, value in zip("xyz", low, strict=True)}
    entry |= {f"size_{axis}": float(value) for axis, value in zip("xyz", size, strict=True)}
    axes, turns = mesh.group.axes.tolist(), mesh.group.turns[1:]
    if axes:
        entry["symmetries_continuous"] = [{"axis": axis, "offset": [0, 0, 0]} for axis in axes]
    if len(turns):
        poses = rigid_transform(turns, torch.zeros(len(turns), 3, dtype=turns.dtype))
        entry["symmetries_discrete"] = poses.flatten(1).tolist()  # by rows
    return entry
