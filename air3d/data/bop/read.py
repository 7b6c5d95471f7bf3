"""Read BOP data sets, in shards or loose files, back into metres and air3d's frames."""

import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from air3d.data.bop.format import camera_from_bop, pose_from_bop
from air3d.data.bop.models import check_models
from air3d.data.bop.sources import Source, find_sources
from air3d.data.errors import DataError
from air3d.data.stream import RenderedScenes
from air3d.geometry import Camera, yaw_rotation
from air3d.scene import ABSENT, Scenes


@dataclass(frozen=True)
class BopObject:
    """One annotated object.

    Attributes:
        identity: BOP's obj_id - 1, the index of the mesh in the scene file.
        object_to_world: [4, 4], metres.
        visib_fract: visible share of the silhouette, 0 to 1.
    """

    identity: int
    object_to_world: Float[Tensor, "4 4"]
    visib_fract: float


@dataclass(frozen=True)
class BopImage:
    """One image and its ground truth.

    Attributes:
        key: ``SSSSSS_IIIIII``, BOP's scene and image numbers.
        rgb: [H, W, 3].
        camera: a batch of one, pixel centres at halves.
        objects: none to many.
    """

    key: str
    rgb: UInt8[Tensor, "height width 3"]
    camera: Camera
    objects: tuple[BopObject, ...]


class BopDataset:
    """A BOP data set in a folder: ``len``, indexing and iteration in the order of its keys.

    Reads webdataset shards and the scenewise layout, written here or elsewhere, as long as
    they have RGB images and the optional ``cam_R_w2c`` and ``cam_t_w2c``.

    Raises:
        DataError: the folder is no BOP data set, is empty or unfinished, or lacks its models;
            a shard is truncated. Indexing raises it for a damaged image or annotation.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._sources = find_sources(self.path)
        self._numbers = check_models(self.path / "models")

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> BopImage:
        source = self._sources[index]
        rgb = _decode_rgb(source)
        try:
            camera_entry = source.annotation("camera")
            camera = camera_from_bop(camera_entry, (rgb.shape[0], rgb.shape[1]))
            poses, infos = source.annotation("gt"), source.annotation("gt_info")
            objects = tuple(
                BopObject(
                    identity=int(pose["obj_id"]) - 1,
                    object_to_world=pose_from_bop(pose, camera_entry),
                    visib_fract=float(info["visib_fract"]),
                )
                for pose, info in zip(poses, infos, strict=True)
            )
        except KeyError as error:
            raise DataError(
                f"{source.place}: the annotation lacks {error}; render it anew"
            ) from error
        except (json.JSONDecodeError, ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"{source.place}: the annotation is damaged ({error})") from error
        for entry in objects:
            if entry.identity + 1 not in self._numbers:
                raise DataError(
                    f"{source.place}: shows object {entry.identity + 1}, which "
                    f"{self.path / 'models' / 'models_info.json'} does not list; copy its models"
                )
        return BopImage(source.key, torch.tensor(rgb), camera, objects)

    def __iter__(self) -> Iterator[BopImage]:
        return (self[index] for index in range(len(self)))


def read_images(path: str | Path) -> RenderedScenes:
    """Read a whole data set of one image size: images in [0, 1] and the scenes they show.

    Raises:
        DataError: as :class:`BopDataset`; or images differ in size, or an object is turned
            about another axis than its own z, which :class:`Scenes` cannot say.
    """
    dataset = BopDataset(path)
    entries = list(dataset)
    sizes = {tuple(entry.rgb.shape[:2]) for entry in entries}
    if len(sizes) > 1:
        raise DataError(f"{dataset.path}: holds images of several sizes {sorted(sizes)}; split it")
    rgb = torch.stack([entry.rgb for entry in entries])
    images = rgb.permute(0, 3, 1, 2).float() / 255.0
    return RenderedScenes(images, _to_scenes(dataset.path, entries))


def _to_scenes(path: Path, entries: list[BopImage]) -> Scenes:
    most = max(1, *(len(entry.objects) for entry in entries), 1)
    identity = torch.full((len(entries), most), ABSENT)
    poses = torch.eye(4).repeat(len(entries), most, 1, 1)
    for row, entry in enumerate(entries):
        for column, found in enumerate(entry.objects):
            identity[row, column] = found.identity
            poses[row, column] = found.object_to_world
    yaw = torch.atan2(poses[..., 1, 0], poses[..., 0, 0])
    tilt = (poses[..., :3, :3] - yaw_rotation(yaw)).abs().amax(dim=(1, 2, 3))
    if float(tilt.max()) > 1e-3:
        key = entries[int(tilt.argmax())].key
        raise DataError(
            f"{path}: an object of image {key} is turned about another axis than its own z; "
            f"by {math.degrees(float(tilt.max())):.1f} degrees or so: read it with BopDataset"
        )
    return Scenes(identity, poses[..., :3, 3], yaw)


def _decode_rgb(source: Source) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(source.rgb())) as image:
            return np.array(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"{source.place}: the image cannot be decoded ({error})") from error
