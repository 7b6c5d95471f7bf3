"""The same figures for parts of a test set: by count, by repeats, by occlusion."""

from collections.abc import Sequence
from dataclasses import dataclass

from air3d.evaluation.pairs import JudgedImage, Pair
from air3d.evaluation.summaries import AngleErrors, Errors, share, summarise, summarise_angles


@dataclass(frozen=True)
class ImageGroup:
    """Images that have something in common.

    Attributes:
        name: what they have in common.
        images: how many there are; the shares below are None without any.
        count_accuracy, identity_accuracy: of images and of pairs of objects.
        position_in_diameters, rotation_degrees: of pairs, as in ``SceneMetrics``.
        all_right, all_right_and_turned: shares of the images.
    """

    name: str
    images: int
    count_accuracy: float | None
    identity_accuracy: float | None
    position_in_diameters: Errors
    rotation_degrees: AngleErrors
    all_right: float | None
    all_right_and_turned: float | None


@dataclass(frozen=True)
class ObjectGroup:
    """True objects that have something in common.

    Attributes:
        name: what they have in common.
        objects: how many there are; the shares below are None without any.
        matched: share for which an estimated object stands.
        in_place: share for which one of the right identity and place stands.
        identity_accuracy: share of the matched ones whose identity is right.
        position_in_diameters, rotation_degrees: of the matched ones, as in ``SceneMetrics``.
    """

    name: str
    objects: int
    matched: float | None
    in_place: float | None
    identity_accuracy: float | None
    position_in_diameters: Errors
    rotation_degrees: AngleErrors


@dataclass(frozen=True)
class Splits:
    """Figures of parts of a test set.

    Attributes:
        by_count: images of 0, 1, ... objects.
        by_repeats: images without and with a kind that they show more than once.
        by_count_and_repeats: the same of images of 2, 3, ... objects: where more are shown, more is
            repeated, and more goes wrong anyway.
        by_occlusion: objects by the visible share of their silhouette, whether others hide the rest
            or the image's border; None where nothing is known of it.
    """

    by_count: tuple[ImageGroup, ...]
    by_repeats: tuple[ImageGroup, ...]
    by_count_and_repeats: tuple[ImageGroup, ...]
    by_occlusion: tuple[ObjectGroup, ...] | None


@dataclass(frozen=True)
class Visibility:
    """Objects of which at least the share ``low`` is visible, and less than ``high``."""

    name: str
    low: float
    high: float


VISIBILITIES = (
    Visibility("0.9 or more visible", 0.9, 2.0),
    Visibility("0.5 to 0.9 visible", 0.5, 0.9),
    Visibility("less than 0.5 visible", -1.0, 0.5),
)


def split(
    judged: Sequence[JudgedImage], visible: Sequence[tuple[float, ...]] | None = None
) -> Splits:
    """Group judged images and their objects.

    Args:
        judged: what became of each image's objects (see ``judge``).
        visible: for each image, the visible share of each true object; None: unknown.
    """
    most = max(len(image.identities) for image in judged)
    repeats = {"no kind repeated": False, "a kind repeated": True}
    return Splits(
        by_count=tuple(
            _images(str(n), [image for image in judged if len(image.identities) == n])
            for n in range(most + 1)
        ),
        by_repeats=tuple(
            _images(name, [image for image in judged if image.repeats == repeated])
            for name, repeated in repeats.items()
        ),
        by_count_and_repeats=tuple(
            _images(
                f"{n}, {name}",
                [
                    image
                    for image in judged
                    if len(image.identities) == n and image.repeats == repeated
                ],
            )
            for n in range(2, most + 1)
            for name, repeated in repeats.items()
        ),
        by_occlusion=None if visible is None else _by_occlusion(judged, visible),
    )


def _by_occlusion(
    judged: Sequence[JudgedImage], visible: Sequence[tuple[float, ...]]
) -> tuple[ObjectGroup, ...]:
    groups = []
    for part in VISIBILITIES:
        objects, pairs = 0, []
        for image, shares in zip(judged, visible, strict=True):
            chosen = {i for i, seen in enumerate(shares) if part.low <= seen < part.high}
            objects += len(chosen)
            pairs += [pair for pair in image.pairs if pair.true in chosen]
        groups.append(_objects(part.name, objects, pairs))
    return tuple(groups)


def _images(name: str, judged: list[JudgedImage]) -> ImageGroup:
    pairs = [pair for image in judged for pair in image.pairs]
    return ImageGroup(
        name=name,
        images=len(judged),
        count_accuracy=share([image.counted for image in judged]),
        identity_accuracy=share([pair.identified for pair in pairs]),
        position_in_diameters=summarise([pair.diameters for pair in pairs]),
        rotation_degrees=summarise_angles([pair.degrees for pair in pairs if pair.has_turn]),
        all_right=share([image.all_right for image in judged]),
        all_right_and_turned=share([image.all_right_and_turned for image in judged]),
    )


def _objects(name: str, objects: int, pairs: list[Pair]) -> ObjectGroup:
    return ObjectGroup(
        name=name,
        objects=objects,
        matched=len(pairs) / objects if objects else None,
        in_place=sum(pair.in_place for pair in pairs) / objects if objects else None,
        identity_accuracy=share([pair.identified for pair in pairs]),
        position_in_diameters=summarise([pair.diameters for pair in pairs]),
        rotation_degrees=summarise_angles([pair.degrees for pair in pairs if pair.has_turn]),
    )
