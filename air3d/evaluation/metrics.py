"""How often and by how much estimates are wrong, over a data set whose truth is known."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.evaluation.matching import match_objects, yaw_error
from air3d.scene import Mesh, Scenes

BAD_YAW = 10.0
"""Degrees beyond which a yaw counts as wrong."""

BAD_POSITION = 0.1
"""Diameters of the object beyond which a position counts as wrong, as in ADD at 0.1 d."""


@dataclass(frozen=True)
class CountMetrics:
    """How well objects are counted.

    Attributes:
        images: how many were judged.
        accuracy: share of images whose count is right.
        per_count: the same among images of n objects, n = 0, 1, ...; None where there are none.
        confusion: ``confusion[n][m]`` images have n objects and were said to have m.
    """

    images: int
    accuracy: float
    per_count: tuple[float | None, ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def headline(self) -> dict[str, float]:
        """The figures to watch while training."""
        return {"count_accuracy": self.accuracy}


@dataclass(frozen=True)
class Errors:
    """A summary of errors.

    Attributes:
        number: how many objects it is about.
        median, mean: of their errors; None where ``number`` is 0.
    """

    number: int
    median: float | None
    mean: float | None


@dataclass(frozen=True)
class YawErrors(Errors):
    """Errors of yaw up to the object's symmetry, degrees.

    Attributes:
        share_bad: share of objects whose error exceeds ``BAD_YAW``.
    """

    share_bad: float | None


@dataclass(frozen=True)
class TypeMetrics:
    """What became of the true objects of one mesh.

    Attributes:
        name: of the mesh.
        objects: how many there are.
        matched: how many of them an estimated object stands for.
        identity_accuracy: share of the matched ones whose identity is right; None without any.
        position_in_diameters: distance between matched objects over the true one's diameter.
        yaw_degrees: of matched objects of the right identity; None for a solid of revolution.
    """

    name: str
    objects: int
    matched: int
    identity_accuracy: float | None
    position_in_diameters: Errors
    yaw_degrees: YawErrors | None


@dataclass(frozen=True)
class SceneMetrics:
    """How well scenes are inferred.

    Estimated and true objects of an image are paired by position (see ``match_objects``).

    Attributes:
        count: of the objects in each image.
        objects: how many true objects there are in all images.
        matched: pairs; missed: true objects left over; surplus: estimated objects left over.
        identity_accuracy: share of pairs whose identity is right; None without any pair.
        position_in_diameters: distance between paired objects over the true one's diameter.
        position_metres: the same in metres.
        yaw_degrees: of pairs of the right identity, without solids of revolution.
        per_type: the same, mesh by mesh.
        all_right: share of images of which all is right: the count, and every object's identity,
            position (within ``BAD_POSITION``) and yaw (within ``BAD_YAW``).
    """

    count: CountMetrics
    objects: int
    matched: int
    missed: int
    surplus: int
    identity_accuracy: float | None
    position_in_diameters: Errors
    position_metres: Errors
    yaw_degrees: YawErrors
    per_type: tuple[TypeMetrics, ...]
    all_right: float

    @property
    def headline(self) -> dict[str, float]:
        """The figures to watch while training; those that have no objects are left out."""
        figures = {
            "count_accuracy": self.count.accuracy,
            "identity_accuracy": self.identity_accuracy,
            "position_diameters": self.position_in_diameters.median,
            "yaw_degrees": self.yaw_degrees.median,
            "all_right": self.all_right,
        }
        return {name: value for name, value in figures.items() if value is not None}


def count_metrics(estimated: Sequence[int], true: Sequence[int]) -> CountMetrics:
    """Compare counts image by image.

    Raises:
        ValueError: no image, or not one estimate for each.
    """
    _one_for_each(len(estimated), len(true))
    size = max(*estimated, *true) + 1
    confusion = [[0] * size for _ in range(size)]
    for said, is_true in zip(estimated, true, strict=True):
        confusion[is_true][said] += 1
    per_count = tuple(row[n] / sum(row) if sum(row) else None for n, row in enumerate(confusion))
    right = sum(row[n] for n, row in enumerate(confusion))
    return CountMetrics(len(true), right / len(true), per_count, tuple(map(tuple, confusion)))


def scene_metrics(
    estimates: Sequence[SceneEstimate], truth: Scenes, meshes: Sequence[Mesh]
) -> SceneMetrics:
    """Compare estimates of 3D scenes with the truth.

    Args:
        estimates: one per image; their objects are ``ObjectEstimate``.
        truth: the scenes of the same images, identities meaning the same ``meshes``.
        meshes: for names, diameters and symmetries.

    Raises:
        ValueError: no image, or not one estimate for each.
    """
    _one_for_each(len(estimates), len(truth))
    pairs = [_pairs_of(image, truth, index, meshes) for index, image in enumerate(estimates)]
    flat = [pair for of_image in pairs for pair in of_image]
    counts, said = truth.count.tolist(), [len(estimate.objects) for estimate in estimates]
    perfect = [
        n == m == sum(pair.right for pair in of_image)
        for n, m, of_image in zip(counts, said, pairs, strict=True)
    ]
    return SceneMetrics(
        count=count_metrics(said, counts),
        objects=sum(counts),
        matched=len(flat),
        missed=sum(counts) - len(flat),
        surplus=sum(said) - len(flat),
        identity_accuracy=_share([pair.identified for pair in flat]),
        position_in_diameters=_summarise([pair.diameters for pair in flat]),
        position_metres=_summarise([pair.metres for pair in flat]),
        yaw_degrees=_summarise_yaw(flat),
        per_type=tuple(
            _type_metrics(mesh, [pair for pair in flat if pair.identity == index], number)
            for index, (mesh, number) in enumerate(zip(meshes, _census(truth, meshes), strict=True))
        ),
        all_right=sum(perfect) / len(perfect),
    )


def to_json(metrics: CountMetrics | SceneMetrics) -> dict:
    """Return the same figures as dictionaries, lists and numbers, under the fields' names."""
    return dataclasses.asdict(metrics)


@dataclass(frozen=True)
class _Pair:
    """One matched object: its true ``identity`` and its errors; ``degrees`` None without a yaw."""

    identity: int
    identified: bool
    metres: float
    diameters: float
    degrees: float | None

    @property
    def right(self) -> bool:
        turned = self.degrees is not None and self.degrees > BAD_YAW
        return self.identified and self.diameters <= BAD_POSITION and not turned


def _pairs_of(
    estimate: SceneEstimate, truth: Scenes, index: int, meshes: Sequence[Mesh]
) -> list[_Pair]:
    """Match the objects of image ``index`` and measure each pair."""
    found = [thing for thing in estimate.objects if isinstance(thing, ObjectEstimate)]
    count = int(truth.count[index])
    if not found or not count:
        return []
    true_poses = truth.object_to_world[index, :count].detach().cpu().double()
    poses = torch.stack([thing.object_to_world for thing in found]).detach().cpu().double()
    pairs = []
    for match in match_objects(poses[:, :3, 3], true_poses[:, :3, 3]):
        identity = int(truth.identity[index, match.true])
        mesh, identified = meshes[identity], found[match.estimated].identity == identity
        pose, true_pose = poses[match.estimated], true_poses[match.true]
        metres = float(torch.linalg.vector_norm(pose[:3, 3] - true_pose[:3, 3]))
        has_yaw = identified and mesh.yaw_symmetry != "continuous"
        radians = yaw_error(pose, true_pose, mesh.yaw_symmetry)
        degrees = math.degrees(radians) if has_yaw else None
        pairs.append(_Pair(identity, identified, metres, metres / mesh.diameter, degrees))
    return pairs


def _type_metrics(mesh: Mesh, pairs: list[_Pair], objects: int) -> TypeMetrics:
    return TypeMetrics(
        name=mesh.name,
        objects=objects,
        matched=len(pairs),
        identity_accuracy=_share([pair.identified for pair in pairs]),
        position_in_diameters=_summarise([pair.diameters for pair in pairs]),
        yaw_degrees=None if mesh.yaw_symmetry == "continuous" else _summarise_yaw(pairs),
    )


def _census(truth: Scenes, meshes: Sequence[Mesh]) -> list[int]:
    """Count the true objects of each mesh."""
    return [int((truth.identity == index).sum()) for index in range(len(meshes))]


def _summarise(errors: list[float]) -> Errors:
    if not errors:
        return Errors(0, None, None)
    return Errors(len(errors), statistics.median(errors), statistics.fmean(errors))


def _summarise_yaw(pairs: list[_Pair]) -> YawErrors:
    degrees = [pair.degrees for pair in pairs if pair.degrees is not None]
    summary = _summarise(degrees)
    bad = _share([value > BAD_YAW for value in degrees])
    return YawErrors(summary.number, summary.median, summary.mean, bad)


def _share(flags: list[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def _one_for_each(estimates: int, images: int) -> None:
    if images == 0:
        raise ValueError("the data set has no image to evaluate; give one that has")
    if estimates != images:
        raise ValueError(f"{estimates} estimates for {images} images; give one for each image")
