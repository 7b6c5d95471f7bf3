"""How far two rotations differ, up to what an object's symmetry hides."""

from jaxtyping import Float
from torch import Tensor

from air3d.scene import SymmetryGroup


def rotation_error(
    estimated: Float[Tensor, "3 3"], true: Float[Tensor, "3 3"], group: SymmetryGroup
) -> float:
    """Return the least angle (radians, 0 to pi) between a rotation and a symmetric twin of another.

    The twins are the true rotation after any that leaves the object as it is: of a solid of
    revolution after any turn about its axis, so that there only a tilt is an error. Between upright
    objects of k-fold symmetry the error is that of their yaws, 0 to pi / k.
    """
    return float(group.angle(estimated.double(), true.double()))
