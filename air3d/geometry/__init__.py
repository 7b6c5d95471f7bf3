"""Frames, rigid transforms and cameras: the one page of conventions.

Units are metres and radians. Vectors are columns: ``point_b = a_to_b @ point_a``,
and a 4x4 matrix is named ``a_to_b`` after the frame it takes points from and the
frame it brings them to.

========  =====================================================================
object    the frame of a mesh file
world     right-handed, z up; the table is the plane z = 0
camera    OpenCV: x right, y down, z forward; depth is the camera's z
pixel     u right, v down; (0, 0) is the upper left *corner* of the upper left
          pixel, whose centre is (0.5, 0.5)
========  =====================================================================

Quaternions are (w, x, y, z). A yaw is an angle about the object's own z axis,
positive from x towards y. An azimuth is such an angle about the world's z axis, an
elevation one above the horizon.

Other conventions are converted where they enter or leave and nowhere else: PyTorch3D's
NDC (+x left, +y up) inside ``air3d.render``; BOP's millimetres and its pixel centres at
whole numbers in ``air3d.data.bop``; Open3D's and glTF's in ``air3d.inspection``.
"""

from air3d.geometry.cameras import (
    Camera,
    pinhole_intrinsics,
    pixel_rays,
    plane_log_det,
    project,
    sight_azimuths,
    sight_frames,
    unproject_to_plane,
)
from air3d.geometry.directions import angles_of, direction_of, from_target, orbit
from air3d.geometry.rotations import (
    angle_of,
    angles_after,
    random_rotations,
    rotation_of,
    spread_rotations,
)
from air3d.geometry.transforms import (
    invert_rigid,
    look_at,
    rigid_transform,
    transform_points,
    yaw_rotation,
)

__all__ = [
    "Camera",
    "angle_of",
    "angles_after",
    "angles_of",
    "direction_of",
    "from_target",
    "invert_rigid",
    "look_at",
    "orbit",
    "pinhole_intrinsics",
    "pixel_rays",
    "plane_log_det",
    "project",
    "random_rotations",
    "rigid_transform",
    "rotation_of",
    "sight_azimuths",
    "sight_frames",
    "spread_rotations",
    "transform_points",
    "unproject_to_plane",
    "yaw_rotation",
]
