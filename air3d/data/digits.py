"""Handwritten digits: MNIST from a folder or a download, else scikit-learn's small ones."""

import gzip
import hashlib
import os
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pooch
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from air3d.data.errors import DataError

Split = Literal["train", "test"]

MNIST_VARIABLE = "AIR3D_MNIST"
_PREFIX: dict[Split, str] = {"train": "train", "test": "t10k"}
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_ARCHIVES = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
# Of the unpacked image files, so that a local folder may hold either form.
_PUBLISHED_IMAGES = {
    "train": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "test": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
}
_TRAIN_SHARE_OF_SCIKIT_LEARN = 1437


@dataclass(frozen=True)
class Digits:
    """Handwritten digits.

    Attributes:
        images: [n, 28, 28], white (255) on black.
        labels: which digit each one is [n].
        source: where they come from, to be repeated beside every figure made from them.
    """

    images: UInt8[Tensor, "digit 28 28"]
    labels: Int[Tensor, " digit"]
    source: str

    def __len__(self) -> int:
        return len(self.images)


def load_digits(split: Split, *, folder: str | Path | None = None) -> Digits:
    """Load the train or test digits of MNIST.

    The first of these that there is: ``folder``; the folder named by the environment variable
    ``AIR3D_MNIST``; a download, kept in the user's cache folder and checked against known
    checksums; scikit-learn's 8x8 digits, with a warning, when nothing can be downloaded.

    Raises:
        DataError: a folder was given and lacks a file or holds a damaged one (it is never
            passed over for another source), or a download differs from the published file.
    """
    given = os.environ.get(MNIST_VARIABLE) if folder is None else folder
    if given:
        return _from_folder(split, Path(given))
    try:
        cached = _download(split)
    except OSError as error:
        warnings.warn(
            f"MNIST could not be downloaded ({type(error).__name__}); using scikit-learn's 8x8 "
            f"digits, which are NOT MNIST: give a folder of MNIST by {MNIST_VARIABLE}",
            stacklevel=2,
        )
        return scikit_learn_digits(split)
    return _from_folder(split, cached)


def _from_folder(split: Split, folder: Path) -> Digits:
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; give one with MNIST's four IDX files")
    images_path, labels_path = (
        _find(folder, f"{_PREFIX[split]}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")
    )
    content = _read_bytes(images_path)
    images = _parse_idx(content, images_path, dimensions=3)
    labels = _parse_idx(_read_bytes(labels_path), labels_path, dimensions=1)
    if images.shape[1:] != (28, 28) or len(images) == 0:
        raise DataError(f"{images_path}: holds images of shape {images.shape}, wanted [n, 28, 28]")
    if len(labels) != len(images):
        raise DataError(
            f"{labels_path}: holds {len(labels)} labels for {len(images)} images; "
            "take both files from one download"
        )
    published = hashlib.sha256(content).hexdigest() == _PUBLISHED_IMAGES[split]
    source = f"MNIST {split}" if published else f"IDX files of {folder} (not the published MNIST)"
    return Digits(torch.tensor(images), torch.tensor(labels, dtype=torch.int64), source)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise DataError(f"{folder}: has no file {name}.gz (nor {name}); download MNIST's four files")


def _read_bytes(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); download it again") from error


def _parse_idx(content: bytes, path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX array: two zero bytes, type 8 (unsigned byte), rank, big-endian sizes, data."""
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path}: is not an IDX file of {dimensions}-d bytes; download it again")
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4).astype(np.int64)
    if len(content) != header + int(shape.prod()):
        raise DataError(
            f"{path}: holds {len(content) - header} bytes where its header announces "
            f"{int(shape.prod())}; it is truncated, download it again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _download(split: Split) -> Path:
    """Fetch the two files of a split into the cache; an OSError says there is no way to."""
    folder = Path(pooch.os_cache("air3d")) / "mnist"
    for name in (name for name in _ARCHIVES if name.startswith(_PREFIX[split])):
        _download_file(name, folder)
    return folder


def _download_file(name: str, folder: Path) -> None:
    failures = []
    for mirror in _MIRRORS:
        try:
            pooch.retrieve(
                mirror + name,
                known_hash=f"sha256:{_ARCHIVES[name]}",
                fname=name,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=10),
            )
            return
        except (OSError, ValueError) as error:
            failures.append(error)
    if all(
        isinstance(failure, ValueError) and not isinstance(failure, OSError) for failure in failures
    ):
        raise DataError(
            f"{name}: every mirror's copy differs from the published file; give a "
            f"folder of MNIST by {MNIST_VARIABLE}"
        ) from failures[-1]
    raise next(failure for failure in failures if isinstance(failure, OSError))


def scikit_learn_digits(split: Split) -> Digits:
    """Enlarge the 8x8 digits to 20x20 and centre them in 28x28, MNIST's own layout."""
    from sklearn.datasets import load_digits as load_small_digits  # slow to import

    bunch = load_small_digits()
    small = torch.tensor(bunch.images, dtype=torch.float32)[:, None] * (255.0 / 16.0)
    large = torch.nn.functional.interpolate(small, size=(20, 20), mode="bilinear")
    images = torch.nn.functional.pad(large, (4, 4, 4, 4))[:, 0].round().to(torch.uint8)
    labels = torch.tensor(bunch.target, dtype=torch.int64)
    border = _TRAIN_SHARE_OF_SCIKIT_LEARN
    part = slice(0, border) if split == "train" else slice(border, None)
    return Digits(images[part], labels[part], f"scikit-learn digits (8x8), NOT MNIST, {split}")
