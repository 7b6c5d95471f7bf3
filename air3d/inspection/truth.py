"""The truth about an image, from a BOP data set, for viewers to show beside the estimate."""

from pathlib import Path

from air3d.data.bop import BopDataset, read_model
from air3d.inspection.exhibit import Truth
from air3d.inspection.placement import Placement, colour_of


def read_truth(data: Path, key: str) -> Truth:
    """Place the objects and the camera that a BOP data set says made image ``key``.

    Keys are ``SSSSSS_IIIIII``, BOP's numbers of scene and image.

    Raises:
        DataError: the folder is no such data set, or has no such image.
        MeshFileError: one of its models cannot be used.
    """
    image = BopDataset(data).find(key)
    placements = tuple(
        Placement(
            read_model(data / "models", found.identity + 1),
            found.object_to_world,
            "truth",
            found.scale,
            colour_of(found.colour),
        )
        for found in image.objects
    )
    return Truth(placements, image.camera)
