"""Data: canvases with digits, streams of rendered scenes, BOP data sets on disk."""

from air3d.data.bop import BopDataset, BopImage, BopObject, BopPlan, read_images, write_bop
from air3d.data.canvases import CanvasDataset, load_canvases, save_canvases
from air3d.data.digits import Digits, load_digits, scikit_learn_digits
from air3d.data.disturbances import Disturbances
from air3d.data.errors import DataError
from air3d.data.multi_mnist import CanvasPlan, make_multi_mnist, write_multi_mnist
from air3d.data.pictures import PictureStream, load_pictures, read_picture
from air3d.data.prefetch import Prefetch
from air3d.data.stream import RenderedScenes, SceneStream

__all__ = [
    "BopDataset",
    "BopImage",
    "BopObject",
    "BopPlan",
    "CanvasDataset",
    "CanvasPlan",
    "DataError",
    "Digits",
    "Disturbances",
    "PictureStream",
    "Prefetch",
    "RenderedScenes",
    "SceneStream",
    "load_canvases",
    "load_digits",
    "load_pictures",
    "make_multi_mnist",
    "read_images",
    "read_picture",
    "save_canvases",
    "scikit_learn_digits",
    "write_bop",
    "write_multi_mnist",
]
