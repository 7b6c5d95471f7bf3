"""All that viewers show of one image: objects, camera, lamp and table, inferred and true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from air3d.estimate import SceneEstimate
from air3d.geometry import Camera
from air3d.inspection.placement import (
    Placement,
    camera_position,
    frustum,
    placements_of,
    to_numpy,
)
from air3d.scene import Light, Mesh
from air3d.scene.spec import TableSpec

CLEARANCE = 1e-3
"""How far below z = 0 viewers draw the table (metres), or it and the objects' feet would fight
for pixels."""


@dataclass(frozen=True)
class Truth:
    """What an image really shows.

    Attributes:
        placements: the objects; may be none.
        camera: from where, a batch of one.
    """

    placements: Sequence[Placement]
    camera: Camera


@dataclass(frozen=True)
class Exhibit:
    """What is shown of one image.

    Attributes:
        inferred: the objects that were found.
        camera: the inferred camera, or the known one; a batch of one.
        light: the inferred light, or the known one (a batch of one); None: nobody knows.
        table: what the objects stand on; None: nothing is known of it.
        truth: what there really is; None where nobody knows.
    """

    inferred: Sequence[Placement]
    camera: Camera
    light: Light | None = None
    table: TableSpec | None = None
    truth: Truth | None = None

    @property
    def placements(self) -> tuple[Placement, ...]:
        """All objects, inferred and true."""
        return (*self.inferred, *(self.truth.placements if self.truth else ()))

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The inferred camera, and the true one where it is known."""
        return (self.camera, self.truth.camera) if self.truth else (self.camera,)

    @property
    def centre(self) -> Float[np.ndarray, "3"]:
        """The middle of the table, or the point of z = 0 below the objects' where it is unknown.

        Without either, it is where the camera looks at that plane, or a metre ahead where it never
        does.
        """
        if self.table is not None:
            return np.array([*self.table.centre, 0.0])
        if self.placements:
            places = [to_numpy(each.object_to_world[:3, 3]) for each in self.placements]
            x, y, _ = np.mean(places, axis=0)
        else:
            x, y, _ = _looked_at(self.camera)
        return np.array([x, y, 0.0])

    @property
    def lamp(self) -> Float[np.ndarray, "3"] | None:
        """The unit vector from the centre towards the lamp; None where nobody knows it."""
        if self.light is None:
            return None
        *place, weight = to_numpy(self.light.source[0])
        towards = np.array(place) - weight * self.centre
        return towards / np.linalg.norm(towards)


def exhibit_of(
    estimate: SceneEstimate, meshes: Sequence[Mesh], table: TableSpec | None = None
) -> Exhibit:
    """Return what viewers show of a 3D estimate.

    Raises:
        ValueError: it is a 2D estimate.
    """
    if estimate.camera is None:
        raise ValueError("exhibit_of: a 2D estimate has nothing to see in 3D; give a 3D one")
    placements = placements_of(estimate, meshes)
    return Exhibit(placements, estimate.camera, estimate.light, table)


def _looked_at(camera: Camera) -> Float[np.ndarray, "3"]:
    eye, (top_left, _, bottom_right, _) = frustum(camera, 1.0)
    forward = 0.5 * (top_left + bottom_right) - eye
    distance = -eye[2] / forward[2] if forward[2] * eye[2] < 0 else 1.0
    return camera_position(camera) + distance * forward
