"""The truth about an image, from a BOP data set, for viewers to show beside the estimate."""

from pathlib import Path

from air3d.data.bop import BopDataset, read_model
from air3d.inspection.placement import Placement


def true_placements(data: Path, key: str) -> tuple[Placement, ...]:
    """Place the objects that a BOP data set says are in image ``key`` (``SSSSSS_IIIIII``).

    Raises:
        DataError: the folder is no such data set, or has no such image.
        MeshFileError: one of its models cannot be used.
    """
    models = data / "models"
    return tuple(
        Placement(read_model(models, found.identity + 1), found.object_to_world, "truth")
        for found in BopDataset(data).find(key).objects
    )
