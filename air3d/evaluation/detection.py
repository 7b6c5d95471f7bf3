"""Detection figures of the BOP challenge 2024: average precision by MSSD and MSPD.

An estimate is right if its error to a true object of its kind is below a threshold and no surer
estimate took that object; surer ones choose first, each the object with the least error. Average
precision is the mean over the thresholds, then over the kinds of object that there are.
Objects less visible than ``LEAST_VISIBLE`` are no targets, and estimates that fit them neither
right nor wrong. Source: the definitions and the evaluation of the BOP toolkit; average precision
as in COCO.

The BOP toolkit does not look at estimates of a kind that the image does not show. ``bop24`` does
the same, to be comparable; ``strict`` takes them for wrong.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.evaluation.average_precision import Detection, average_precision
from air3d.evaluation.pairs import objects_of
from air3d.evaluation.summaries import check_one_for_each
from air3d.evaluation.surfaces import mspd, mssd, place_estimate, place_twins
from air3d.scene import Mesh, Scenes

MSSD_THRESHOLDS = tuple(0.05 * step for step in range(1, 11))
"""Diameters of the object, which is its mesh's times its scale."""

MSPD_THRESHOLDS = tuple(5.0 * step for step in range(1, 11))
"""Pixels of an image 640 pixels wide."""

LEAST_VISIBLE = 0.1
"""Visible share of its silhouette that makes an object a target."""


@dataclass(frozen=True)
class Precisions:
    """Average precisions, 0 to 1; None where there is no target.

    Attributes:
        mssd, mspd: by the one and the other error.
        mean: of both.
    """

    mssd: float | None
    mspd: float | None
    mean: float | None


@dataclass(frozen=True)
class TypeDetection:
    """Figures of the objects of one mesh.

    Attributes:
        name: of the mesh.
        targets: how many true objects are visible enough.
        bop24, strict: as in ``DetectionMetrics``.
    """

    name: str
    targets: int
    bop24: Precisions
    strict: Precisions


@dataclass(frozen=True)
class DetectionMetrics:
    """How well objects are detected with their poses.

    Attributes:
        targets: how many true objects are visible enough.
        bop24: means over the kinds that there are, as the BOP toolkit counts.
        strict: the same with estimates of kinds that the image does not show taken for wrong.
        per_type: kind by kind.
    """

    targets: int
    bop24: Precisions
    strict: Precisions
    per_type: tuple[TypeDetection, ...]


def detection_metrics(
    estimates: Sequence[SceneEstimate],
    truth: Scenes,
    meshes: Sequence[Mesh],
    visible: Sequence[tuple[float, ...]] | None = None,
) -> DetectionMetrics:
    """Score estimated objects as the BOP challenge 2024 does.

    Args:
        estimates: one per image, with its camera (else the true one is taken).
        truth: the scenes of the same images.
        meshes: that identities mean.
        visible: for each image, the visible share of each true object; None: all are visible.

    Raises:
        ValueError: no image, or not one estimate for each.
    """
    check_one_for_each(len(estimates), len(truth))
    groups = _groups(estimates, truth, meshes, visible)
    per_type = tuple(_type(mesh, groups[index]) for index, mesh in enumerate(meshes))
    there = [kind for kind in per_type if kind.targets]
    return DetectionMetrics(
        targets=sum(kind.targets for kind in per_type),
        bop24=_mean([kind.bop24 for kind in there]),
        strict=_mean([kind.strict for kind in there]),
        per_type=per_type,
    )


def score_of(thing: ObjectEstimate) -> float:
    """Return how sure an object is: the probabilities of its presence and its identity, times."""
    return thing.presence_probability * thing.identity_probability


@dataclass(frozen=True)
class _Group:
    """The objects of one kind in one image, estimated ones from the surest on.

    Attributes:
        scores: of the estimates.
        targets: whether each true object is visible enough.
        mssd: of each estimate to each true object, in the latter's diameters.
        mspd: the same in pixels of an image 640 wide.
    """

    scores: tuple[float, ...]
    targets: tuple[bool, ...]
    mssd: Float[Tensor, "estimated true"]
    mspd: Float[Tensor, "estimated true"]


def _groups(
    estimates: Sequence[SceneEstimate],
    truth: Scenes,
    meshes: Sequence[Mesh],
    visible: Sequence[tuple[float, ...]] | None,
) -> list[list[_Group]]:
    """Return the groups of every image, mesh by mesh."""
    groups: list[list[_Group]] = [[] for _ in meshes]
    for row, estimate in enumerate(estimates):
        scene = truth[row : row + 1].present()
        shown = scene.identity[0].tolist()
        shares = (1.0,) * len(shown) if visible is None else visible[row]
        for identity in {*shown, *(thing.identity for thing in objects_of(estimate))}:
            group = _measure(estimate, scene, identity, meshes[identity], shares)
            groups[identity].append(group)
    return groups


def _measure(
    estimate: SceneEstimate, scene: Scenes, identity: int, mesh: Mesh, shares: tuple[float, ...]
) -> _Group:
    found = [thing for thing in objects_of(estimate) if thing.identity == identity]
    found.sort(key=score_of, reverse=True)
    camera = scene.camera if estimate.camera is None else estimate.camera
    placed = [place_estimate(thing, mesh, camera) for thing in found]
    there = (scene.identity[0] == identity).nonzero()[:, 0].tolist()
    surface, projection = torch.zeros(2, len(found), len(there), dtype=torch.float64)
    per_pixel = 640.0 / scene.camera.image_size[1]
    for column, index in enumerate(there):
        twins = place_twins(scene, index, mesh)
        diameter = mesh.diameter * float(scene.scale[0, index])
        for row, thing in enumerate(placed):
            surface[row, column] = mssd(thing, twins) / diameter
            projection[row, column] = mspd(thing, twins) * per_pixel
    targets = tuple(shares[index] >= LEAST_VISIBLE for index in there)
    return _Group(tuple(score_of(thing) for thing in found), targets, surface, projection)


def _type(mesh: Mesh, groups: list[_Group]) -> TypeDetection:
    shown = [group for group in groups if group.targets]
    return TypeDetection(
        name=mesh.name,
        targets=sum(sum(group.targets) for group in groups),
        bop24=_precisions(shown),
        strict=_precisions(groups),
    )


def _precisions(groups: list[_Group]) -> Precisions:
    """Average over the thresholds."""
    targets = sum(sum(group.targets) for group in groups)
    if not targets:
        return Precisions(None, None, None)

    def average(name: str, thresholds: tuple[float, ...]) -> float:
        return statistics.fmean(
            average_precision(
                [
                    detection
                    for group in groups
                    for detection in _detections(group, getattr(group, name), threshold)
                ],
                targets,
            )
            for threshold in thresholds
        )

    surface, projection = average("mssd", MSSD_THRESHOLDS), average("mspd", MSPD_THRESHOLDS)
    return Precisions(surface, projection, (surface + projection) / 2)


def _detections(
    group: _Group, errors: Float[Tensor, "estimated true"], threshold: float
) -> Iterator[Detection]:
    """Let the estimates choose; yield those that count."""
    free = errors.masked_fill(errors >= threshold, math.inf)
    for row, score in enumerate(group.scores):
        best = int(free[row].argmin()) if free.shape[1] else -1
        if best < 0 or free[row, best] == math.inf:
            yield Detection(score, right=False)
            continue
        if group.targets[best]:
            yield Detection(score, right=True)
        free[:, best] = math.inf


def _mean(of_types: list[Precisions]) -> Precisions:
    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    return Precisions(
        mean([of.mssd for of in of_types]),
        mean([of.mspd for of in of_types]),
        mean([of.mean for of in of_types]),
    )
