"""Write BOP data sets of rendered scenes, part by part, so that a run can be continued."""

import contextlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from air3d import ranks
from air3d.data.bop.annotate import AnnotatedScenes
from air3d.data.bop.crisp import crisp
from air3d.data.bop.format import (
    AnnotatedImage,
    camera_to_bop,
    depth_to_bop,
    info_to_bop,
    mask_to_rle,
    poses_to_bop,
    to_png,
)
from air3d.data.bop.models import write_models
from air3d.data.disturbances import UNDISTURBED, Disturbances
from air3d.data.errors import DataError
from air3d.data.record import claim
from air3d.files import (
    file_digest,
    remove,
    replacing,
    temporary_name,
    to_json,
    write_atomically,
)
from air3d.scene import SceneSpec
from air3d.threads import one_thread
from air3d.version import __version__

Layout = Literal["webdataset", "scenewise"]
MAX_SHARD_SIZE = 1000
MAX_SUPERSAMPLE = 16


@dataclass(frozen=True)
class BopPlan:
    """What a data set is to hold.

    Attributes:
        spec: the scene file.
        count: number of images.
        seed: of the scenes and the noise.
        layout: ``webdataset`` (tar shards) or ``scenewise`` (loose files, for small sets).
        shard_size: images per shard or scene folder, at most 1000.
        supersample: 1 renders as the scene file says; n crisply with n x n samples a pixel, for
            test sets whose images are not made as the model makes them.
        disturbances: what else is not as the scene file says.
    """

    spec: SceneSpec
    count: int
    seed: int
    layout: Layout = "webdataset"
    shard_size: int = MAX_SHARD_SIZE
    supersample: int = 1
    disturbances: Disturbances = UNDISTURBED

    def __post_init__(self):
        if self.count < 1:
            raise DataError(f"count must be at least 1, got {self.count}")
        if self.seed < 0:
            raise DataError(f"seed must not be negative, got {self.seed}")
        if not 1 <= self.supersample <= MAX_SUPERSAMPLE:
            raise DataError(
                f"supersample must be 1 (as the scene file says) to {MAX_SUPERSAMPLE}, "
                f"got {self.supersample}"
            )
        if not 1 <= self.shard_size <= MAX_SHARD_SIZE:
            raise DataError(
                f"shard size must be 1 to {MAX_SHARD_SIZE} (BOP's limit), got {self.shard_size}"
            )

    def _render_settings(self) -> dict:
        """What is rendered otherwise than the scene file says; nothing for most data sets."""
        settings = {}
        if self.supersample > 1:
            settings["supersample"] = self.supersample
            settings["render"] = crisp(self.spec.render).model_dump(mode="json")
        if self.disturbances:
            settings["disturbances"] = asdict(self.disturbances)
        return settings

    @property
    def num_parts(self) -> int:
        """Number of shards or scene folders."""
        return -(-self.count // self.shard_size)

    @property
    def own_parts(self) -> range:
        """Those that this process writes: ranks take them in turn."""
        return range(ranks.rank(), self.num_parts, ranks.size())

    def part(self, number: int) -> range:
        """The image numbers of one shard or scene folder."""
        return range(number * self.shard_size, min((number + 1) * self.shard_size, self.count))

    def settings(self) -> dict:
        """What ``dataset_info.json`` records; equal settings give equal images."""
        kinds = zip(self.spec.objects.types, self.spec.mesh_paths, strict=True)
        meshes = {kind.name: file_digest(path) for kind, path in kinds}
        return {
            "scene": self.spec.model_dump(mode="json"),
            "mesh_sha256": meshes,
            "seed": self.seed,
            "count": self.count,
            "layout": self.layout,
            "shard_size": self.shard_size,
            **self._render_settings(),
            "air3d_version": __version__,
        }


def write_bop(
    out: Path, plan: BopPlan, progress: Callable[[int], object] = lambda done: None
) -> None:
    """Write a data set into ``out``, or finish one that was interrupted there.

    Every shard (or scene folder) appears complete or not at all; those that are there are kept,
    so nothing is lost or doubled, and the bytes do not depend on interruptions. After an error
    nothing is left of a data set of which no part is complete.
    ``progress`` is called with the number of images that came to be present. Ranks write shards
    (or scene folders) in turn (see :mod:`air3d.ranks`); the bytes do not depend on them either.

    Raises:
        DataError: ``out`` cannot be written, or holds other files or a data set made with
            other settings; or an object is too far away for a depth image.
        MeshFileError: a mesh of the scene file cannot be used.
    """
    scenes = AnnotatedScenes(plan.spec, plan.seed, plan.supersample, plan.disturbances)
    try:
        with _undone_without_a_part(out, plan), one_thread():
            with ranks.together():
                if ranks.is_first():
                    _claim_folder(out, plan)
                    write_models(out / "models", scenes.stream.meshes)
            with ranks.together():
                for number in plan.own_parts:
                    _write_part(out, plan, number, scenes, progress)
            if plan.layout == "webdataset" and ranks.is_first():
                write_atomically(out / "key_to_shard.json", to_json(_key_to_shard(plan)))
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error}); choose another --out") from error


@contextlib.contextmanager
def _undone_without_a_part(out: Path, plan: BopPlan) -> Iterator[None]:
    """After an error remove what was made within, if no shard or scene folder is complete.

    The first rank does, which made the folder.
    """
    before = set(out.iterdir()) if out.is_dir() else None
    try:
        yield
    except (OSError, DataError, ranks.AnotherRankFailed):
        parts = (_part_path(out, plan.layout, number) for number in range(plan.num_parts))
        nothing = out.is_dir() and not any(part.exists() for part in parts)
        if nothing and ranks.is_first():
            for made in set(out.iterdir()) - (before or set()):
                remove(made)
            if before is None:
                out.rmdir()
        raise


def _write_part(
    out: Path,
    plan: BopPlan,
    number: int,
    scenes: AnnotatedScenes,
    progress: Callable[[int], object],
) -> None:
    """Write one shard or scene folder, unless it is there; a shard that was cut is written anew."""
    part = plan.part(number)
    path = _part_path(out, plan.layout, number)
    if path.is_dir() or (path.exists() and _ends_as_a_tar(path)):
        progress(len(part))
        return
    images = _counted(scenes.images(part.start, part.stop), progress)
    if plan.layout == "webdataset":
        _write_shard(out, number, images)
    else:
        _write_scene(out, number, images)


def _ends_as_a_tar(path: Path) -> bool:
    """Say whether a file has a tar's end: whole records, the last two blocks of them zeros."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        if size == 0 or size % tarfile.RECORDSIZE:
            return False
        file.seek(-2 * tarfile.BLOCKSIZE, io.SEEK_END)
        return not any(file.read())


def _claim_folder(out: Path, plan: BopPlan) -> None:
    out.mkdir(parents=True, exist_ok=True)
    record = out / "dataset_info.json"
    others = [path.name for path in out.iterdir() if path.suffix != ".tmp"]
    if others and not record.exists():
        raise DataError(f"{out}: holds other files ({sorted(others)[0]}); choose an empty folder")
    claim(record, plan.settings())


def _part_path(out: Path, layout: Layout, number: int) -> Path:
    if layout == "webdataset":
        return out / f"shard-{number:06d}.tar"
    return out / "train" / f"{number:06d}"


def _counted(
    images: Iterator[AnnotatedImage], progress: Callable[[int], object]
) -> Iterator[AnnotatedImage]:
    for image in images:
        yield image
        progress(1)


def _key_to_shard(plan: BopPlan) -> dict[str, int]:
    return {
        f"{number:06d}_{index:06d}": number
        for number in range(plan.num_parts)
        for index in range(len(plan.part(number)))
    }


def _write_shard(out: Path, number: int, images: Iterator[AnnotatedImage]) -> None:
    path = _part_path(out, "webdataset", number)
    with (
        replacing(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as shard,
    ):
        for index, image in enumerate(images):
            for suffix, content in _members(image).items():
                # A fresh TarInfo has time 0 and user 0: the bytes depend on nothing else.
                member = tarfile.TarInfo(f"{number:06d}_{index:06d}.{suffix}")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))


def _members(image: AnnotatedImage) -> dict[str, bytes]:
    """Encode one image as the members of its key in a shard."""
    masks, visible = (
        {str(index): mask_to_rle(mask) for index, mask in enumerate(group)}
        for group in (image.masks, image.visible)
    )
    return {
        "rgb.png": to_png(image.rgb),
        "depth.png": to_png(depth_to_bop(image.depth)),
        "camera.json": to_json(camera_to_bop(image.scene.camera, image.scene.light)),
        "gt.json": to_json(poses_to_bop(image.scene)),
        "gt_info.json": to_json(info_to_bop(image)),
        "mask.json": to_json(masks),
        "mask_visib.json": to_json(visible),
    }


def _write_scene(out: Path, number: int, images: Iterator[AnnotatedImage]) -> None:
    path = _part_path(out, "scenewise", number)
    temporary = temporary_name(path)
    remove(temporary)
    try:
        for kind in ("rgb", "depth", "mask", "mask_visib"):
            (temporary / kind).mkdir(parents=True)
        cameras, poses, infos = {}, {}, {}
        for index, image in enumerate(images):
            _write_pictures(temporary, index, image)
            cameras[str(index)] = camera_to_bop(image.scene.camera, image.scene.light)
            poses[str(index)] = poses_to_bop(image.scene)
            infos[str(index)] = info_to_bop(image)
        (temporary / "scene_camera.json").write_bytes(to_json(cameras))
        (temporary / "scene_gt.json").write_bytes(to_json(poses))
        (temporary / "scene_gt_info.json").write_bytes(to_json(infos))
        os.replace(temporary, path)
    finally:
        remove(temporary)


def _write_pictures(folder: Path, index: int, image: AnnotatedImage) -> None:
    (folder / "rgb" / f"{index:06d}.png").write_bytes(to_png(image.rgb))
    (folder / "depth" / f"{index:06d}.png").write_bytes(to_png(depth_to_bop(image.depth)))
    for kind, masks in (("mask", image.masks), ("mask_visib", image.visible)):
        for number, mask in enumerate(masks):
            picture = mask.astype(np.uint8) * 255
            (folder / kind / f"{index:06d}_{number:06d}.png").write_bytes(to_png(picture))
