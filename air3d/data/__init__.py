"""Data: canvases with digits, streams of rendered scenes, BOP data sets on disk."""

from air3d.data.digits import Digits, load_digits
from air3d.data.errors import DataError
from air3d.data.multi_mnist import (
    CanvasDataset,
    load_canvases,
    make_multi_mnist,
    save_canvases,
)

__all__ = [
    "CanvasDataset",
    "DataError",
    "Digits",
    "load_canvases",
    "load_digits",
    "make_multi_mnist",
    "save_canvases",
]
