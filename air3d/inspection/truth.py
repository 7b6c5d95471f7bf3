"""The truth about an image, from a BOP data set, for viewers to show beside the estimate."""

import dataclasses
from pathlib import Path

from air3d.data import BopDataset, BopImage, DataError
from air3d.inspection.placement import Placement
from air3d.scene import Mesh, load_mesh

METRES_PER_MILLIMETRE = 1e-3


def true_placements(data: Path, key: str) -> tuple[Placement, ...]:
    """Place the objects that a BOP data set says are in image ``key`` (``SSSSSS_IIIIII``).

    Raises:
        DataError: the folder is no such data set, or has no such image.
        MeshFileError: one of its models cannot be used.
    """
    image = _find(BopDataset(data), key)
    return tuple(
        Placement(_model(data, found.identity), found.object_to_world, "truth")
        for found in image.objects
    )


def _find(dataset: BopDataset, key: str) -> BopImage:
    for image in dataset:
        if image.key == key:
            return image
    raise DataError(
        f"{dataset.path}: has no image {key}; keys are SSSSSS_IIIIII, BOP's numbers of scene and "
        f"image, as in {dataset[0].key}"
    )


def _model(data: Path, identity: int) -> Mesh:
    """Read a model of the data set, which BOP keeps in millimetres."""
    mesh = load_mesh(data / "models" / f"obj_{identity + 1:06d}.ply")
    return dataclasses.replace(
        mesh,
        vertices=mesh.vertices * METRES_PER_MILLIMETRE,
        diameter=mesh.diameter * METRES_PER_MILLIMETRE,
    )
