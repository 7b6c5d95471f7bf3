"""Files that the tests of data make and compare."""

import gzip
import json
from pathlib import Path

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """Encode a byte array as MNIST's files are."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_mnist(folder: Path, prefix: str, count: int = 5, compress: bool = True) -> np.ndarray:
    """Write random digits as MNIST's two files of a split; return their images."""
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    folder.mkdir(exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        content = idx_bytes(array)
        if compress:
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{prefix}-{name}-ubyte").write_bytes(content)
    return images


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a BOP data set; without the commit, which is not compared."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    info = json.loads(files["dataset_info.json"])
    info.pop("git_commit")
    return files | {"dataset_info.json": json.dumps(info).encode()}


def rle_to_mask(rle: dict) -> np.ndarray:
    """Return the mask of COCO's uncompressed run lengths."""
    values = np.arange(len(rle["counts"])) % 2 == 1
    return np.repeat(values, rle["counts"]).reshape(rle["size"], order="F")
