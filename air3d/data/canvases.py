"""Files of canvases: ``.npz`` with ``images`` and ``counts``."""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from air3d.data.errors import DataError
from air3d.files import git_commit, replacing


@dataclass(frozen=True)
class CanvasDataset:
    """Canvases and how many digits each one shows.

    Attributes:
        images: [n, H, W], white (255) on black.
        counts: [n].
        source: where the digits come from, to be repeated beside every figure.
    """

    images: UInt8[Tensor, "canvas height width"]
    counts: Int[Tensor, " canvas"]
    source: str

    def __len__(self) -> int:
        return len(self.images)


def save_canvases(
    path: str | Path, canvases: CanvasDataset, *, settings: dict | None = None
) -> None:
    """Write canvases to an ``.npz`` file (keys ``images``, ``counts``, ``source``, ``made_by``).

    The file appears complete or not at all. ``settings`` is what made the canvases, to be
    recorded with the commit of the code under ``made_by``.

    Raises:
        DataError: the file cannot be written.
    """
    path = Path(path)
    made_by = json.dumps({**(settings or {}), "git_commit": git_commit()})
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                images=canvases.images.numpy(),
                counts=canvases.counts.numpy(),
                source=np.array(canvases.source),
                made_by=np.array(made_by),
            )
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error}); choose another folder") from error


def load_canvases(path: str | Path) -> CanvasDataset:
    """Read an ``.npz`` with ``images`` (uint8, [n, H, W]) and ``counts`` (whole numbers, [n]).

    A key ``source`` (text) is optional.

    Raises:
        DataError: the file is missing, truncated or empty, lacks a key, or has arrays of
            another type or shape.
    """
    path = Path(path)
    if path.is_file() and not zipfile.is_zipfile(path):
        raise DataError(
            f"{path}: cannot be read as an .npz file (it is none, or was cut short); make it anew"
        )
    try:
        with np.load(path) as file:
            content = {key: file[key] for key in ("images", "counts", "source") if key in file}
    except Exception as error:  # numpy and zipfile raise whatever they stumble over
        raise DataError(
            f"{path}: cannot be read as an .npz file ({error}); make it anew"
        ) from error
    for key in ("images", "counts"):
        if key not in content:
            raise DataError(f"{path}: has no array '{key}'; save it with images= and counts=")
    images, counts = content["images"], content["counts"]
    _check_arrays(path, images, counts)
    source = str(content.get("source", path.name))
    return CanvasDataset(torch.tensor(images), torch.tensor(counts.astype(np.int64)), source)


def saved_settings(path: Path) -> dict:
    """Return the settings that :func:`save_canvases` recorded in a file.

    Raises:
        DataError: the file cannot be read or records none.
    """
    try:
        with np.load(path) as file:
            return json.loads(str(file["made_by"]))
    except Exception as error:  # as above
        raise DataError(
            f"{path}: is there already and does not say what made it; choose another --out"
        ) from error


def _check_arrays(path: Path, images: np.ndarray, counts: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or math.prod(images.shape[1:]) == 0:
        raise DataError(
            f"{path}: 'images' must be uint8 of shape [n, height, width], "
            f"is {images.dtype} of shape {list(images.shape)}"
        )
    if len(images) == 0:
        raise DataError(f"{path}: holds no images; make the data set with at least one")
    if counts.dtype.kind not in "iu" or counts.shape != (len(images),):
        raise DataError(
            f"{path}: 'counts' must be whole numbers, one per image ([{len(images)}]), "
            f"is {counts.dtype} of shape {list(counts.shape)}"
        )
    if counts.min() < 0:
        raise DataError(f"{path}: 'counts' holds a negative number; counts start at 0")
