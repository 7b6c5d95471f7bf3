"""BOP data sets: rendered scenes to disk, and back.

The layout is the one of the BOP benchmark, in webdataset shards or loose files; conventions
are converted in :mod:`air3d.data.bop.format` and nowhere else.
"""

from air3d.data.bop.models import read_diameters, read_model
from air3d.data.bop.read import BopDataset, BopImage, BopObject, read_images
from air3d.data.bop.write import BopPlan, Layout, write_bop

__all__ = [
    "BopDataset",
    "BopImage",
    "BopObject",
    "BopPlan",
    "Layout",
    "read_diameters",
    "read_images",
    "read_model",
    "write_bop",
]
