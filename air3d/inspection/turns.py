"""How an object is turned, in words."""

import math

from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from air3d.scene import Mesh


def yaw_of(object_to_world: Float[Tensor, "4 4"]) -> float:
    """Return the turn about z of an upright object, radians in (-pi, pi]."""
    return math.atan2(float(object_to_world[1, 0]), float(object_to_world[0, 0]))


def turn_text(object_to_world: Float[Tensor, "4 4"], mesh: Mesh) -> str:
    """Say how an object is turned: its yaw, or about which axis of the world by how much."""
    if not mesh.has_turn:
        return "any"
    if mesh.symmetry is None:
        return f"{math.degrees(yaw_of(object_to_world)):+.1f} deg"
    return axis_text(object_to_world)


def axis_text(object_to_world: Float[Tensor, "4 4"]) -> str:
    """Say about which axis of the world an object is turned, and by how much."""
    rotation = Rotation.from_matrix(object_to_world[:3, :3].detach().cpu().double().numpy())
    angle = rotation.magnitude()
    x, y, z = rotation.as_rotvec() / max(angle, 1e-9)
    return f"{math.degrees(angle):.1f} deg about ({x:+.2f}, {y:+.2f}, {z:+.2f})"
