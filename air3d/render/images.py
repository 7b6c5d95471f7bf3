"""What lies behind the objects of an image."""

from jaxtyping import Float
from torch import Tensor

Background = Float[Tensor, "3"] | Float[Tensor, "scene height width 3"]
"""One colour, or an image behind each scene (or, if there is one, behind all)."""
