"""Where the bytes of each image of a BOP data set lie: members of shards, or loose files."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from air3d.data.errors import DataError
from air3d.data.record import read_json

_RGB_SUFFIXES = ("rgb.png", "rgb.jpg")


class Source(Protocol):
    """The undecoded parts of one image."""

    @property
    def key(self) -> str:
        """BOP's scene and image numbers, ``SSSSSS_IIIIII``."""
        ...

    @property
    def place(self) -> str:
        """File and key, for messages."""
        ...

    def rgb(self) -> bytes:
        """Return the encoded RGB image."""
        ...

    def annotation(self, kind: str) -> Any:
        """Return the parsed ``camera``, ``gt`` or ``gt_info`` of the image."""
        ...


@dataclass(frozen=True)
class ShardSource:
    """An image in a tar shard: ``members`` maps a suffix to (offset, size) in the file."""

    shard: Path
    key: str
    members: dict[str, tuple[int, int]]

    @property
    def place(self) -> str:
        return f"{self.shard}: {self.key}"

    def rgb(self) -> bytes:
        for suffix in _RGB_SUFFIXES:
            if suffix in self.members:
                return self._read(suffix)
        raise DataError(f"{self.place}: has no RGB image; air3d reads colour images only")

    def annotation(self, kind: str) -> Any:
        return json.loads(self._read(f"{kind}.json"))

    def _read(self, suffix: str) -> bytes:
        if suffix not in self.members:
            raise DataError(f"{self.place}: has no .{suffix}; render or download it anew")
        offset, size = self.members[suffix]
        with self.shard.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@dataclass(frozen=True)
class SceneSource:
    """An image in a scene folder; ``tables`` are the folder's annotation files, parsed."""

    folder: Path
    index: int
    tables: dict[str, dict]

    @property
    def key(self) -> str:
        return f"{int(self.folder.name):06d}_{self.index:06d}"

    @property
    def place(self) -> str:
        return f"{self.folder}: image {self.index}"

    def rgb(self) -> bytes:
        for suffix in ("png", "jpg"):
            path = self.folder / "rgb" / f"{self.index:06d}.{suffix}"
            if path.is_file():
                return path.read_bytes()
        raise DataError(f"{self.place}: has no RGB image; render or download it anew")

    def annotation(self, kind: str) -> Any:
        return self.tables[kind][str(self.index)]


def is_bop(path: Path) -> bool:
    """Say whether a folder looks like a BOP data set, be it whole or not."""
    return (path / "models").is_dir() or bool(_shards(path) or _scene_folders(path))


def find_sources(path: Path) -> list[Source]:
    """List the images of a data set, in the order of their keys.

    Raises:
        DataError: ``path`` is no BOP data set, holds no image, fewer than it announces, several
            splits, or a shard that is truncated.
    """
    if not path.is_dir():
        raise DataError(f"{path}: is not a folder; give the folder of a BOP data set")
    shards, scenes = _shards(path), _scene_folders(path)
    _check_splits(path, shards, scenes)
    sources: list[Source] = []
    for shard in shards:
        sources.extend(_index_shard(shard))
    for scene in scenes:
        sources.extend(_index_scene(scene))
    _check_count(path, len(sources))
    return sorted(sources, key=lambda source: source.key)


def _shards(path: Path) -> list[Path]:
    return sorted(path.glob("shard-*.tar"))


def _scene_folders(path: Path) -> list[Path]:
    """List the scene folders: they are numbers; others are unfinished, or somebody's own."""
    files = path.glob("*/*/scene_gt.json")
    return sorted(file.parent for file in files if file.parent.name.isdecimal())


def _check_splits(path: Path, shards: list[Path], scenes: list[Path]) -> None:
    splits = sorted({scene.parent.name for scene in scenes}) + ["shards"] * bool(shards)
    if len(splits) > 1:
        raise DataError(
            f"{path}: holds several splits ({', '.join(splits)}), which may share keys; put the "
            "one to be read into a folder of its own, with models beside it"
        )


def _check_count(path: Path, found: int) -> None:
    announced = []
    if (path / "dataset_info.json").is_file():
        announced.append(read_json(path / "dataset_info.json").get("count", found))
    if (path / "key_to_shard.json").is_file():
        announced.append(len(read_json(path / "key_to_shard.json")))
    for count in announced:
        if found != count:
            raise DataError(
                f"{path}: holds {found} of {count} images; finish it by running "
                "render_dataset.py again with the same arguments, or copy it anew"
            )
    if found == 0:
        raise DataError(f"{path}: holds no images; give the folder of a BOP data set")


def _index_shard(shard: Path) -> list[ShardSource]:
    images: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(shard, "r:") as file:
            for member in file:
                key, _, suffix = member.name.partition(".")
                images.setdefault(key, {})[suffix] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{shard}: is truncated or no tar file ({error}); render or copy it anew"
        ) from error
    return [ShardSource(shard, key, members) for key, members in images.items()]


def _index_scene(folder: Path) -> list[SceneSource]:
    names = {"camera": "scene_camera", "gt": "scene_gt", "gt_info": "scene_gt_info"}
    tables = {kind: read_json(folder / f"{name}.json") for kind, name in names.items()}
    numbers = [number for number in tables["gt"] if number.isdecimal()]
    if len(numbers) < len(tables["gt"]):
        raise DataError(f"{folder / 'scene_gt.json'}: has a key that is no number; copy it anew")
    return [SceneSource(folder, int(number), tables) for number in numbers]
