"""How often and by how much estimates of scenes are wrong, where the truth is known."""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from air3d.estimate import SceneEstimate
from air3d.evaluation.counts import CountMetrics, count_metrics
from air3d.evaluation.pairs import Pair, judge
from air3d.evaluation.summaries import AngleErrors, Errors, share, summarise, summarise_angles
from air3d.evaluation.views import CameraErrors, LightErrors, camera_errors, light_errors
from air3d.scene import Mesh, Scenes


@dataclass(frozen=True)
class TypeMetrics:
    """What became of the true objects of one mesh.

    Attributes:
        name: of the mesh.
        objects: how many there are.
        matched: how many of them an estimated object stands for.
        identity_accuracy: share of the matched ones whose identity is right; None without any.
        position_in_diameters: distance between matched objects over the true one's diameter.
        rotation_degrees: of matched objects of the right identity; None for a solid of revolution.
    """

    name: str
    objects: int
    matched: int
    identity_accuracy: float | None
    position_in_diameters: Errors
    rotation_degrees: AngleErrors | None


@dataclass(frozen=True)
class SceneMetrics:
    """How well scenes are inferred.

    Estimated and true objects of an image are paired by position (see ``match_objects``); an
    object's diameter is its mesh's times its scale.

    Attributes:
        count: of the objects in each image.
        objects: how many true objects there are in all images.
        matched: pairs; missed: true objects left over; surplus: estimated objects left over.
        identity_accuracy: share of pairs whose identity is right; None without any pair.
        position_in_diameters: distance between paired objects over the true one's diameter.
        position_metres: the same in metres.
        rotation_degrees: up to symmetry, of pairs of the right identity, without solids of
            revolution.
        scale: relative error of pairs of the right identity; None where the scale is known.
        colour: mean absolute error per channel of such pairs; None where colours are known.
        camera, light: None where they are known.
        per_type: mesh by mesh.
        all_right: share of images of which the count is right, every identity, and every position
            (within ``BAD_POSITION`` diameters).
        all_right_and_turned: share of those whose every rotation is right too (within
            ``BAD_ANGLE``).
    """

    count: CountMetrics
    objects: int
    matched: int
    missed: int
    surplus: int
    identity_accuracy: float | None
    position_in_diameters: Errors
    position_metres: Errors
    rotation_degrees: AngleErrors
    scale: Errors | None
    colour: Errors | None
    camera: CameraErrors | None
    light: LightErrors | None
    per_type: tuple[TypeMetrics, ...]
    all_right: float
    all_right_and_turned: float

    @property
    def headline(self) -> dict[str, float]:
        """The figures to watch while training; those that have no objects are left out."""
        figures = {
            "count_accuracy": self.count.accuracy,
            "identity_accuracy": self.identity_accuracy,
            "position_diameters": self.position_in_diameters.median,
            "rotation_degrees": self.rotation_degrees.median,
            "camera_degrees": self.camera.azimuth_degrees.median if self.camera else None,
            "all_right": self.all_right,
        }
        return {name: value for name, value in figures.items() if value is not None}


def scene_metrics(
    estimates: Sequence[SceneEstimate],
    truth: Scenes,
    meshes: Sequence[Mesh],
    open_names: Collection[str] = (),
) -> SceneMetrics:
    """Compare estimates of 3D scenes with the truth.

    Args:
        estimates: one per image; their objects are ``ObjectEstimate``.
        truth: the scenes of the same images, identities meaning the same ``meshes``.
        meshes: for names, diameters and symmetries.
        open_names: what the scene file leaves open besides (see ``open_numbers``).

    Raises:
        ValueError: no image, not one estimate for each, or an open camera without an estimate.
    """
    judged = judge(estimates, truth, meshes)
    pairs = [pair for image in judged for pair in image.pairs]
    known = [pair for pair in pairs if pair.identified]
    counts, said = truth.count.tolist(), [image.said for image in judged]
    return SceneMetrics(
        count=count_metrics(said, counts),
        objects=sum(counts),
        matched=len(pairs),
        missed=sum(counts) - len(pairs),
        surplus=sum(said) - len(pairs),
        identity_accuracy=share([pair.identified for pair in pairs]),
        position_in_diameters=summarise([pair.diameters for pair in pairs]),
        position_metres=summarise([pair.metres for pair in pairs]),
        rotation_degrees=_rotations(pairs),
        scale=summarise([pair.scale for pair in known]) if "scale" in open_names else None,
        colour=summarise([pair.colour for pair in known]) if "colour" in open_names else None,
        camera=camera_errors(estimates, truth.camera, open_names),
        light=light_errors(estimates, truth.light, open_names),
        per_type=tuple(
            _type_metrics(
                mesh,
                [pair for pair in pairs if pair.identity == index],
                int((truth.identity == index).sum()),
            )
            for index, mesh in enumerate(meshes)
        ),
        all_right=sum(image.all_right for image in judged) / len(judged),
        all_right_and_turned=sum(image.all_right_and_turned for image in judged) / len(judged),
    )


def to_json(metrics: object) -> dict:
    """Return a dataclass of figures as dictionaries, lists and numbers, under its fields' names."""
    assert dataclasses.is_dataclass(metrics) and not isinstance(metrics, type)
    return dataclasses.asdict(metrics)


def _type_metrics(mesh: Mesh, pairs: list[Pair], objects: int) -> TypeMetrics:
    return TypeMetrics(
        name=mesh.name,
        objects=objects,
        matched=len(pairs),
        identity_accuracy=share([pair.identified for pair in pairs]),
        position_in_diameters=summarise([pair.diameters for pair in pairs]),
        rotation_degrees=_rotations(pairs) if mesh.has_turn else None,
    )


def _rotations(pairs: list[Pair]) -> AngleErrors:
    return summarise_angles([pair.degrees for pair in pairs if pair.has_turn])
