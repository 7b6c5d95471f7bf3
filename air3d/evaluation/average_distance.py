"""ADD and ADD-S: how far the vertices of an object are from where they should be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from air3d.estimate import SceneEstimate
from air3d.evaluation.pairs import BAD_POSITION, JudgedImage, Pair, objects_of
from air3d.evaluation.summaries import Errors, summarise
from air3d.evaluation.surfaces import Placed, add, add_s, place_estimate, place_truth
from air3d.scene import Mesh, Scenes


@dataclass(frozen=True)
class DistanceErrors(Errors):
    """Distances in diameters of the true object.

    Attributes:
        recall: share of all true objects whose distance is below ``BAD_POSITION``; an object that
            is missed, or taken for another kind, is none of them. None without any object.
    """

    recall: float | None


@dataclass(frozen=True)
class AverageDistances:
    """Average distances of vertices, over matched objects of the right identity.

    Attributes:
        add: of corresponding vertices; what symmetry hides is an error here.
        add_s: of each vertex to the nearest one.
        add_or_s: ADD-S for objects with a symmetry, ADD for the others: what is mostly meant by
            ADD(-S).
    """

    add: DistanceErrors
    add_s: DistanceErrors
    add_or_s: DistanceErrors


def average_distances(
    estimates: Sequence[SceneEstimate],
    truth: Scenes,
    meshes: Sequence[Mesh],
    judged: Sequence[JudgedImage],
) -> AverageDistances:
    """Measure the pairs of judged images (see ``judge``), poses taken to the camera's frame."""
    objects = sum(len(image.identities) for image in judged)
    plain, nearest, mixed = [], [], []
    for row, (estimate, image) in enumerate(zip(estimates, judged, strict=True)):
        scene = truth[row : row + 1].present()
        for pair in image.pairs:
            if pair.identified:
                mesh = meshes[pair.identity]
                plain.append(_measure(add, estimate, scene, pair, mesh))
                nearest.append(_measure(add_s, estimate, scene, pair, mesh))
                mixed.append(plain[-1] if mesh.group.trivial else nearest[-1])
    return AverageDistances(*(_summarise(values, objects) for values in (plain, nearest, mixed)))


def _measure(
    distance: Callable[[Placed, Placed], float],
    estimate: SceneEstimate,
    scene: Scenes,
    pair: Pair,
    mesh: Mesh,
) -> float:
    thing = objects_of(estimate)[pair.estimated]
    camera = scene.camera if estimate.camera is None else estimate.camera
    metres = distance(place_estimate(thing, mesh, camera), place_truth(scene, pair.true, mesh))
    return metres / (mesh.diameter * float(scene.scale[0, pair.true]))


def _summarise(distances: list[float], objects: int) -> DistanceErrors:
    summary = summarise(distances)
    near = sum(distance < BAD_POSITION for distance in distances)
    return DistanceErrors(
        summary.number, summary.median, summary.mean, near / objects if objects else None
    )
