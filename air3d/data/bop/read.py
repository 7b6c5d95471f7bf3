"""Read BOP data sets, in shards or loose files, back into metres and air3d's frames."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from air3d.data.bop.format import (
    camera_from_bop,
    colour_from_bop,
    light_from_bop,
    pose_from_bop,
    scale_from_bop,
)
from air3d.data.bop.models import check_models
from air3d.data.bop.sources import Source, find_sources
from air3d.data.errors import DataError
from air3d.data.stream import RenderedScenes
from air3d.geometry import Camera
from air3d.scene import ABSENT, Light, Scenes


@dataclass(frozen=True)
class BopObject:
    """One annotated object.

    Attributes:
        identity: BOP's obj_id - 1, the index of the mesh in the scene file.
        object_to_world: [4, 4], metres.
        scale: factor of the mesh's size; 1 where BOP's file says nothing of it.
        colour: multiplies the mesh's own [3]; white where BOP's file says nothing of it.
        visib_fract: visible share of the silhouette, 0 to 1.
    """

    identity: int
    object_to_world: Float[Tensor, "4 4"]
    scale: float
    colour: Float[Tensor, "3"]
    visib_fract: float


@dataclass(frozen=True)
class BopImage:
    """One image and its ground truth.

    Attributes:
        key: ``SSSSSS_IIIIII``, BOP's scene and image numbers.
        rgb: [H, W, 3].
        camera: a batch of one, pixel centres at halves.
        light: a batch of one; from everywhere where BOP's file says nothing of it.
        objects: none to many.
    """

    key: str
    rgb: UInt8[Tensor, "height width 3"]
    camera: Camera
    light: Light
    objects: tuple[BopObject, ...]


class BopDataset:
    """A BOP data set in a folder: ``len``, indexing and iteration in the order of its keys.

    The folder holds ``models`` and one split of images: either webdataset shards
    (``shard-*.tar``, as BOP's toolkit packs them) or scene folders (``SPLIT/SSSSSS`` with
    ``scene_camera.json``, ``scene_gt.json`` and ``scene_gt_info.json``). Images are colour, PNG
    or JPEG in ``rgb``; every camera entry has what BOP calls optional, ``cam_R_w2c`` and
    ``cam_t_w2c``. Who made the data set does not matter, and depth and masks are not read.

    Raises:
        DataError: the folder is no such data set, is empty or unfinished, has several splits,
            or lacks its models; a shard is truncated. Indexing raises it for a damaged image or
            annotation.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._sources = find_sources(self.path)
        self._numbers = check_models(self.path / "models")

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, index: int) -> BopImage:
        return self._read(self._sources[index])

    def __iter__(self) -> Iterator[BopImage]:
        return (self[index] for index in range(len(self)))

    def find(self, key: str) -> BopImage:
        """Return the image of a key, ``SSSSSS_IIIIII``, without decoding any other.

        Raises:
            DataError: there is no such image, or it is damaged.
        """
        for source in self._sources:
            if source.key == key:
                return self._read(source)
        raise DataError(
            f"{self.path}: has no image {key}; keys are SSSSSS_IIIIII, BOP's numbers of scene and "
            f"image, as in {self._sources[0].key}"
        )

    def cameras(self) -> Camera:
        """Return the cameras of all images, in their order, without decoding pixels.

        Raises:
            DataError: images differ in size, or a camera is missing or damaged.
        """
        size = _common_size(self.path, {_read_size(source) for source in self._sources})
        return Camera.concatenate([_read_camera(source, size) for source in self._sources])

    @property
    def keys(self) -> tuple[str, ...]:
        """The images' keys, ``SSSSSS_IIIIII``, in their order."""
        return tuple(source.key for source in self._sources)

    def visible_shares(self) -> tuple[tuple[float, ...], ...]:
        """Return BOP's ``visib_fract`` of every image's objects, without decoding pixels.

        Raises:
            DataError: an annotation is missing or damaged.
        """
        return tuple(
            tuple(found.visib_fract for found in _read_objects(source)) for source in self._sources
        )

    def _read(self, source: Source) -> BopImage:
        with _opened(source) as picture:
            rgb = torch.tensor(np.array(picture.convert("RGB")))
        camera = _read_camera(source, (rgb.shape[0], rgb.shape[1]))
        objects = _read_objects(source)
        for entry in objects:
            if entry.identity + 1 not in self._numbers:
                raise DataError(
                    f"{source.place}: shows object {entry.identity + 1}, which "
                    f"{self.path / 'models' / 'models_info.json'} does not list; copy its models"
                )
        return BopImage(source.key, rgb, camera, _read_light(source), objects)


def read_images(path: str | Path) -> RenderedScenes:
    """Read a whole data set of one image size: images in [0, 1] and the scenes they show.

    Raises:
        DataError: as :class:`BopDataset`; or images differ in size.
    """
    dataset = BopDataset(path)
    entries = list(dataset)
    _common_size(dataset.path, {entry.camera.image_size for entry in entries})
    rgb = torch.stack([entry.rgb for entry in entries])
    images = rgb.permute(0, 3, 1, 2).float() / 255.0
    return RenderedScenes(images, _to_scenes(entries))


def _to_scenes(entries: list[BopImage]) -> Scenes:
    most = max(1, *(len(entry.objects) for entry in entries), 1)
    identity = torch.full((len(entries), most), ABSENT)
    poses = torch.eye(4).repeat(len(entries), most, 1, 1)
    scale, colour = torch.ones(len(entries), most), torch.ones(len(entries), most, 3)
    for row, entry in enumerate(entries):
        for column, found in enumerate(entry.objects):
            identity[row, column] = found.identity
            poses[row, column] = found.object_to_world
            scale[row, column] = found.scale
            colour[row, column] = found.colour
    cameras = Camera.concatenate([entry.camera for entry in entries])
    light = Light.concatenate([entry.light for entry in entries])
    return Scenes(identity, poses[..., :3, 3], poses[..., :3, :3], scale, colour, cameras, light)


def _common_size(path: Path, sizes: set[tuple[int, int]]) -> tuple[int, int]:
    if len(sizes) > 1:
        raise DataError(f"{path}: holds images of several sizes {sorted(sizes)}; split it")
    return sizes.pop()


def _read_size(source: Source) -> tuple[int, int]:
    """Return an image's height and width from its first bytes."""
    with _opened(source) as picture:
        return picture.height, picture.width


def _read_camera(source: Source, image_size: tuple[int, int]) -> Camera:
    with _annotated(source):
        return camera_from_bop(source.annotation("camera"), image_size)


def _read_light(source: Source) -> Light:
    with _annotated(source):
        return light_from_bop(source.annotation("camera"))


def _read_objects(source: Source) -> tuple[BopObject, ...]:
    with _annotated(source):
        camera = source.annotation("camera")
        poses, infos = source.annotation("gt"), source.annotation("gt_info")
        return tuple(
            BopObject(
                identity=int(pose["obj_id"]) - 1,
                object_to_world=pose_from_bop(pose, camera),
                scale=scale_from_bop(pose),
                colour=colour_from_bop(pose),
                visib_fract=float(info["visib_fract"]),
            )
            for pose, info in zip(poses, infos, strict=True)
        )


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[Image.Image]:
    """Open an image, whose pixels are decoded when they are asked for."""
    try:
        with Image.open(io.BytesIO(source.rgb())) as picture:
            yield picture
    except DataError:
        raise
    except Exception as error:  # Pillow raises whatever its decoders stumble over
        raise DataError(
            f"{source.place}: the image cannot be decoded ({error}); render or download it anew"
        ) from error


@contextlib.contextmanager
def _annotated(source: Source) -> Iterator[None]:
    """Name the place of whatever is wrong with an annotation."""
    try:
        yield
    except DataError:
        raise
    except KeyError as error:
        raise DataError(f"{source.place}: the annotation lacks {error}; render it anew") from error
    except (OSError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise DataError(
            f"{source.place}: the annotation is damaged ({error}); render or download it anew"
        ) from error
