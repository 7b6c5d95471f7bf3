"""Test sets: images with their truth, checked against the model that is to be tested on them."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.data import CanvasDataset, DataError, Disturbances, RenderedScenes, load_canvases
from air3d.data.bop import BopDataset, read_diameters, read_images
from air3d.data.record import read_json
from air3d.geometry import Camera, yaw_rotation
from air3d.scene import (
    ABSENT,
    GlimpseSpec,
    Mesh,
    Scenes,
    SceneSpec,
    View,
    ViewPrior,
    ambient_light,
)

SAME_POSE, SAME_PIXELS = 1e-3, 0.1
"""How far cameras may differ and still be one: metres (and entries of a rotation), and pixels."""


@dataclass(frozen=True)
class TestSet:
    """Images and what they show.

    Attributes:
        images: [n, C, H, W], values in [0, 1].
        counts: true number of objects [n].
        scenes: the true scenes in 3D; None in 2D.
        source: where the images come from, to be repeated beside every figure.
        seed: that the images were drawn with; None where nobody wrote it down.
        keys: BOP's numbers of scene and image, ``SSSSSS_IIIIII``; None without any.
        visible: for each image, the visible share of each true object's silhouette; None where
            nobody has looked.
    """

    __test__ = False  # or pytest takes the class for tests

    images: Float[Tensor, "image channel height width"]
    counts: Int[Tensor, " image"]
    scenes: Scenes | None
    source: str
    seed: int | None = None
    keys: tuple[str, ...] | None = None
    visible: tuple[tuple[float, ...], ...] | None = None

    @classmethod
    def of_canvases(cls, canvases: CanvasDataset, device: torch.device | str = "cpu") -> "TestSet":
        """Take canvases for a test set, their images on ``device``."""
        images = canvases.images[:, None].to(device).float() / 255.0
        return cls(images, canvases.counts, None, canvases.source)

    @classmethod
    def of_scenes(
        cls,
        rendered: RenderedScenes,
        device: torch.device | str = "cpu",
        source: str = "fresh renders",
    ) -> "TestSet":
        """Take rendered scenes for a test set, their images on ``device``."""
        images = rendered.images.to(device)
        return cls(images, rendered.scenes.count, rendered.scenes, source)

    def __len__(self) -> int:
        return len(self.images)

    def first(self, number: int) -> "TestSet":
        """Return the first ``number`` images, or all where there are fewer."""
        return TestSet(
            self.images[:number],
            self.counts[:number],
            None if self.scenes is None else self.scenes[:number],
            self.source,
            self.seed,
            None if self.keys is None else self.keys[:number],
            None if self.visible is None else self.visible[:number],
        )


def load_test_set(
    path: str | Path, spec: SceneSpec | GlimpseSpec, meshes: Sequence[Mesh] = ()
) -> TestSet:
    """Read the kind of data set that fits a model.

    Args:
        path: folder of a BOP data set in 3D, ``.npz`` file of canvases in 2D.
        spec: the model's scene file.
        meshes: the model's meshes; none in 2D.

    Raises:
        DataError: there is no such data set, it is damaged or empty, or it is not one for this
            model: of the other kind, image size, meshes or camera.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such data set; give the path of one")
    _check_kind(path, spec)
    if isinstance(spec, GlimpseSpec):
        canvases = load_canvases(path)
        _check_size(path, tuple(canvases.images.shape[1:]), spec)
        return TestSet.of_canvases(canvases)
    record = _record(path)
    _check_names(path, record, spec)
    dataset = BopDataset(path)
    cameras = dataset.cameras()
    _check_size(path, cameras.image_size, spec)
    _check_cameras(path, cameras, spec)
    rendered = read_images(path)
    if spec.objects.rotation == "upright":
        _check_upright(path, rendered.scenes)
    _check_meshes(path, rendered.scenes, meshes)
    return dataclasses.replace(
        TestSet.of_scenes(rendered, source=_source(path, record)),
        seed=None if record is None else record.get("seed"),
        keys=dataset.keys,
        visible=dataset.visible_shares(),
    )


def _record(path: Path) -> dict | None:
    """Return how a data set says that it was made; None where it comes from elsewhere."""
    record = path / "dataset_info.json"
    return read_json(record) if record.is_file() else None


def _source(path: Path, record: dict | None) -> str:
    """Name a data set by its folder, its seed, and how it was rendered if not as a model does."""
    if record is None:
        return path.name
    finer = record.get("supersample", 1)
    crisp = "" if finer == 1 else f", crisp and supersampled {finer} times"
    try:
        disturbed = Disturbances(**record.get("disturbances", {})).describe()
    except (TypeError, ValueError) as error:
        place = path / "dataset_info.json"
        raise DataError(f"{place}: is damaged ({error}); render it anew") from error
    return f"{path.name}, seed {record.get('seed')}{crisp}{disturbed and ', ' + disturbed}"


def _check_kind(path: Path, spec: SceneSpec | GlimpseSpec) -> None:
    if isinstance(spec, GlimpseSpec) and path.is_dir():
        raise DataError(
            f"{path}: is a folder, but the checkpoint ({spec.name}) reads canvases; "
            "give an .npz file with 'images' and 'counts'"
        )
    if isinstance(spec, SceneSpec) and not path.is_dir():
        raise DataError(
            f"{path}: is a file, but the checkpoint ({spec.name}) reads rendered scenes; "
            "give the folder of a BOP data set"
        )


def _check_size(path: Path, size: tuple[int, ...], spec: SceneSpec | GlimpseSpec) -> None:
    if size != tuple(spec.image_size):
        raise DataError(
            f"{path}: its images are {_size_text(size)}, the checkpoint ({spec.name}) reads "
            f"{_size_text(spec.image_size)} (height x width); make a data set of that size"
        )


def _size_text(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _check_names(path: Path, record: dict | None, spec: SceneSpec) -> None:
    """Compare meshes by name with the scene file that the data set says it was made from."""
    if record is None:
        return  # its models are compared by their size
    try:
        names = [kind["name"] for kind in record["scene"]["objects"]["types"]]
    except (KeyError, TypeError) as error:
        place = path / "dataset_info.json"
        raise DataError(f"{place}: is damaged ({error} is missing); render it anew") from error
    wanted = [kind.name for kind in spec.objects.types]
    if names != wanted:
        raise DataError(
            f"{path}: shows {', '.join(names)}, the checkpoint ({spec.name}) knows "
            f"{', '.join(wanted)}; render a data set from the checkpoint's scene file"
        )


def _check_cameras(path: Path, cameras: Camera, spec: SceneSpec) -> None:
    """Compare every image's camera with those that the scene file allows."""
    prior = ViewPrior(spec)
    # What the scene file says of a camera: the known one, or the one on its orbit at this place.
    light = ambient_light().expand(len(cameras))
    coordinates = prior.coordinates(View(cameras, light))
    wanted = prior.view(coordinates).camera
    poses = (cameras.world_to_camera - wanted.world_to_camera).abs().amax(dim=(1, 2))
    pixels = (cameras.intrinsics - wanted.intrinsics).abs().amax(dim=(1, 2))
    others = (poses > SAME_POSE) | (pixels > SAME_PIXELS)
    for column, unknown in zip(coordinates.unbind(dim=1), prior.unknowns, strict=True):
        if unknown.name.startswith("camera_") and not unknown.circular:
            low, high = unknown.range.low - SAME_POSE, unknown.range.high + SAME_POSE
            others = others | (column < low) | (column > high)
    if others.any():
        raise DataError(
            f"{path}: {int(others.sum())} of {len(others)} images have another camera than the "
            f"checkpoint ({spec.name}) learned; render a data set from the checkpoint's scene file"
        )


def _check_upright(path: Path, scenes: Scenes) -> None:
    """Refuse objects that are turned about another axis than their own z: no model knows them."""
    tilt = (scenes.rotation - yaw_rotation(scenes.yaw)).abs().amax(dim=(1, 2, 3))
    if float(tilt.max()) > SAME_POSE:
        raise DataError(
            f"{path}: an object of image number {int(tilt.argmax())} is turned about another axis "
            f"than its own z, by {math.degrees(float(tilt.max())):.1f} degrees or so; the "
            "checkpoint knows upright objects only"
        )


def _check_meshes(path: Path, scenes: Scenes, meshes: Sequence[Mesh]) -> None:
    """Compare the shown meshes with the model's, by their number and their diameters."""
    diameters = read_diameters(path / "models")
    for identity in scenes.identity[scenes.identity != ABSENT].unique().tolist():
        if identity >= len(meshes):
            raise DataError(
                f"{path}: shows object {identity + 1}, the checkpoint knows {len(meshes)} meshes; "
                "render a data set from the checkpoint's scene file"
            )
        mesh, diameter = meshes[identity], diameters[identity + 1]
        if abs(diameter - mesh.diameter) > 0.01 * mesh.diameter:
            raise DataError(
                f"{path}: object {identity + 1} is {diameter:.3f} m across, the checkpoint's "
                f"{mesh.name} {mesh.diameter:.3f} m; "
                "render a data set from the checkpoint's scene file"
            )
