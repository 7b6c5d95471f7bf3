"""Which estimated object stands for which true one, and how far the two are apart."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from air3d.estimate import ObjectEstimate, SceneEstimate
from air3d.evaluation.matching import match_objects
from air3d.evaluation.rotations import rotation_error
from air3d.evaluation.summaries import BAD_ANGLE, check_one_for_each
from air3d.scene import Mesh, Scenes

BAD_POSITION = 0.1
"""Diameters of the object beyond which a position counts as wrong, as in ADD at 0.1 d."""


@dataclass(frozen=True)
class Pair:
    """A true object and the estimated one that stands for it.

    Attributes:
        true, estimated: their numbers in the truth and the estimate.
        identity: the true one's; identified: whether the estimated one's is the same.
        metres: distance between their places; diameters: the same over the true one's diameter,
            which is its mesh's times its scale.
        degrees: between their rotations, up to the true mesh's symmetry.
        has_turn: whether there is a turn to be wrong about: the identity is right, and no upright
            solid of revolution's, nor a ball's.
        scale: |estimated / true - 1| of their sizes.
        colour: mean absolute difference of their colours' channels.
    """

    true: int
    estimated: int
    identity: int
    identified: bool
    metres: float
    diameters: float
    degrees: float
    has_turn: bool
    scale: float
    colour: float

    @property
    def in_place(self) -> bool:
        """Whether identity and position are right."""
        return self.identified and self.diameters <= BAD_POSITION

    @property
    def turned_right(self) -> bool:
        """Whether the rotation is right too."""
        return self.in_place and self.degrees <= BAD_ANGLE


@dataclass(frozen=True)
class JudgedImage:
    """The objects of an image and what the estimate says of them.

    Attributes:
        identities: of the true objects.
        said: how many objects are estimated.
        pairs: as many as the fewer of both.
    """

    identities: tuple[int, ...]
    said: int
    pairs: tuple[Pair, ...]

    @property
    def counted(self) -> bool:
        """Whether the count is right."""
        return self.said == len(self.identities)

    @property
    def all_right(self) -> bool:
        """Whether the count, every identity and every position is right."""
        return self.counted and all(pair.in_place for pair in self.pairs)

    @property
    def all_right_and_turned(self) -> bool:
        """Whether every rotation is right too."""
        return self.counted and all(pair.turned_right for pair in self.pairs)

    @property
    def repeats(self) -> bool:
        """Whether the image shows a kind of object more than once."""
        return any(number > 1 for number in Counter(self.identities).values())


def judge(
    estimates: Sequence[SceneEstimate], truth: Scenes, meshes: Sequence[Mesh]
) -> tuple[JudgedImage, ...]:
    """Match the objects of every image by position and measure each pair.

    Args:
        estimates: one per image; their objects are ``ObjectEstimate``.
        truth: the scenes of the same images, identities meaning the same ``meshes``.
        meshes: for diameters and symmetries.

    Raises:
        ValueError: no image, or not one estimate for each.
    """
    check_one_for_each(len(estimates), len(truth))
    return tuple(
        _judge(estimate, truth[row : row + 1].present(), meshes)
        for row, estimate in enumerate(estimates)
    )


def objects_of(estimate: SceneEstimate) -> list[ObjectEstimate]:
    """Return an estimate's objects, which must be 3D."""
    return [thing for thing in estimate.objects if isinstance(thing, ObjectEstimate)]


def _judge(estimate: SceneEstimate, scene: Scenes, meshes: Sequence[Mesh]) -> JudgedImage:
    found = objects_of(estimate)
    identities = tuple(scene.identity[0].tolist())
    if not found or not identities:
        return JudgedImage(identities, len(found), ())
    places = torch.stack([thing.object_to_world[:3, 3] for thing in found])
    matches = match_objects(_plain(places), _plain(scene.position[0]))
    pairs = tuple(
        _measure(found[match.estimated], scene, match.true, meshes, match.estimated)
        for match in matches
    )
    return JudgedImage(identities, len(found), pairs)


def _measure(
    thing: ObjectEstimate, scene: Scenes, index: int, meshes: Sequence[Mesh], number: int
) -> Pair:
    """Compare estimated object ``number`` with true object ``index`` of a batch of one."""
    identity, scale = int(scene.identity[0, index]), float(scene.scale[0, index])
    mesh, pose = meshes[identity], _plain(thing.object_to_world)
    metres = float((pose[:3, 3] - _plain(scene.position[0, index])).norm())
    turn = rotation_error(pose[:3, :3], _plain(scene.rotation[0, index]), mesh.group)
    identified = thing.identity == identity
    return Pair(
        true=index,
        estimated=number,
        identity=identity,
        identified=identified,
        metres=metres,
        diameters=metres / (mesh.diameter * scale),
        degrees=math.degrees(turn),
        has_turn=identified and mesh.has_turn,
        scale=abs(thing.scale / scale - 1),
        colour=float((_plain(thing.colour) - _plain(scene.colour[0, index])).abs().mean()),
    )


def _plain(values: torch.Tensor) -> torch.Tensor:
    return values.detach().cpu().double()
