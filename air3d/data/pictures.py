"""A user's own pictures: image files as models want them, and an endless shuffled stream."""

import contextlib
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from air3d.data.bop.sources import find_sources, is_bop
from air3d.data.errors import DataError
from air3d.randomness import own_generator
from air3d.scene import GlimpseSpec, SceneSpec

READABLE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
ONE_IN = 10
"""Of so many pictures one is held out."""
MAX_HELD_OUT = 200


def read_picture(path: Path, spec: SceneSpec | GlimpseSpec) -> UInt8[Tensor, "channel row column"]:
    """Read an image file as a model wants it, in 8 bits.

    Raises:
        DataError: the file is no image, is damaged, or has another size than the model's.
    """
    return _decode(path, str(path), spec)


def load_pictures(
    folder: Path, spec: SceneSpec | GlimpseSpec
) -> UInt8[Tensor, "picture channel row column"]:
    """Read all image files of a folder, or all images of a BOP data set but none of its poses.

    Folders within, hidden files and files whose ending is no image format's are passed over.

    Args:
        folder: of the files, which are taken in the order of their names, or of the data set.
        spec: the scene file of the model that is to see them.

    Raises:
        DataError: ``folder`` is none or holds no images, or as :func:`read_picture`.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; give a folder of images or a BOP data set")
    if is_bop(folder):
        sources = find_sources(folder)
        return torch.stack([_decode(io.BytesIO(s.rgb()), s.place, spec) for s in sources])
    paths = sorted(path for path in folder.iterdir() if _is_image_file(path))
    if not paths:
        raise DataError(f"{folder}: holds no image files; give a folder of PNG or JPEG files")
    return torch.stack([read_picture(path, spec) for path in paths])


class PictureStream:
    """Pictures without end: each epoch shows all of them once, in an order of its own.

    Batch number ``index`` depends on the pictures, the batch size, ``seed`` and ``index`` alone,
    so a resumed training sees exactly the batches that an uninterrupted one sees.

    Attributes:
        held_out: one picture in ``ONE_IN``, at most ``MAX_HELD_OUT``, evenly spread; values in
            [0, 1]. They are in no batch.
        digest: sha256 of all pictures in their order, in hexadecimal.

    Args:
        pictures: at least two.
        batch: pictures per batch; a batch goes on where the last one ended, in the next epoch
            where need be.
        seed: of the order.

    Raises:
        DataError: there are too few pictures.
    """

    def __init__(
        self, pictures: UInt8[Tensor, "picture channel row column"], *, batch: int, seed: int
    ):
        if len(pictures) < 2:
            raise DataError(
                f"--data: holds {len(pictures)} picture, at least 2 are needed, one to learn from "
                "and one to be held out"
            )
        step = max(ONE_IN, -(-len(pictures) // MAX_HELD_OUT))
        kept = torch.arange(len(pictures)) % step != min(step, len(pictures)) - 1
        self.held_out = pictures[~kept] / 255
        self.digest = hashlib.sha256(pictures.numpy().tobytes()).hexdigest()
        self._pictures = pictures[kept]
        self._batch = batch
        self._seed = seed

    def __len__(self) -> int:
        """Return how many pictures an epoch shows."""
        return len(self._pictures)

    def batch(self, index: int) -> Float[Tensor, "picture channel row column"]:
        """Return batch number ``index``; values in [0, 1]."""
        return self._pictures[self._numbers(index)] / 255

    def _numbers(self, index: int) -> Int[Tensor, " picture"]:
        """Return the pictures of a batch: a piece of all epochs' orders after one another."""
        start, stop = index * self._batch, (index + 1) * self._batch
        first, last = start // len(self), (stop - 1) // len(self)
        orders = [self._order(epoch) for epoch in range(first, last + 1)]
        return torch.cat(orders)[start - first * len(self) : stop - first * len(self)]

    def _order(self, epoch: int) -> Int[Tensor, " picture"]:
        return torch.randperm(len(self), generator=own_generator(self._seed, epoch))


def _is_image_file(path: Path) -> bool:
    known = path.suffix.lower() in PIL.Image.registered_extensions()
    return known and path.is_file() and not path.name.startswith(".")


def _decode(
    file: Path | io.BytesIO, place: str, spec: SceneSpec | GlimpseSpec
) -> UInt8[Tensor, "channel row column"]:
    """Decode an image; ``place`` names it in messages."""
    height, width = spec.image_size
    with _explained(place), PIL.Image.open(file) as opened:
        picture = PIL.ImageOps.exif_transpose(opened)
    if picture.size != (width, height):
        raise DataError(
            f"{place}: is {picture.width} x {picture.height} pixels, the checkpoint wants "
            f"{width} x {height} (width x height); crop or resize it"
        )
    if picture.mode not in READABLE_MODES:
        raise DataError(
            f"{place}: has pixels of Pillow's mode {picture.mode}; save it with 8 bits per channel"
        )
    pixels = torch.tensor(np.array(picture.convert("RGB" if spec.num_channels == 3 else "L")))
    return pixels.permute(2, 0, 1).contiguous() if pixels.ndim == 3 else pixels[None]


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """Name the file that Pillow cannot read."""
    try:
        yield
    except PIL.UnidentifiedImageError as error:
        raise DataError(f"{place}: is not an image that Pillow can read") from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{place}: cannot be read as an image ({reason})") from error
