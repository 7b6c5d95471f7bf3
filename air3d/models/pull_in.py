"""From soft and coarse to sharp: how a search sees objects that lie far from where it looks.

The objective of a search is log N of *coarse* images under *soft* rendering, a surrogate of the
likelihood with a wider basin. What is reported of a scene is always the likelihood itself.
"""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, pad

from air3d.scene import RenderSpec, SceneSpec

_TAPS = (0.125, 0.375, 0.375, 0.125)


@dataclass(frozen=True)
class Sharpness:
    """How one step of a search looks at its images.

    Attributes:
        softness: what it renders with.
        level: how often it halves the images before it compares them; 0 is the image itself.
    """

    softness: RenderSpec
    level: int


def sharpness_at(spec: SceneSpec, progress: float) -> Sharpness:
    """Return the sharpness at a share ``progress`` (0 to 1) of a search, by ``spec.pull_in``."""
    pull_in, render = spec.pull_in, spec.render
    if progress >= pull_in.fraction:
        return Sharpness(render, 0)
    left = 1.0 - progress / pull_in.fraction
    softness = render.model_copy(
        update={
            "sigma": render.sigma * max(1.0, pull_in.sigma / render.sigma) ** left,
            "gamma": render.gamma * max(1.0, pull_in.gamma / render.gamma) ** left,
        }
    )
    halvings = max(0, int(math.log2(min(spec.image_size) / pull_in.coarsest)))
    return Sharpness(softness, math.ceil(left * halvings))


def coarsen(
    images: Float[Tensor, "batch channel height width"], level: int
) -> Float[Tensor, "batch channel coarse_height coarse_width"]:
    """Smooth and halve images ``level`` times; a constant stays what it is.

    Each output pixel is the mean of the 2x2 pixels under it after a smoothing by (1, 2, 1) / 4
    along both axes: 2x2 means alone hardly change while an edge moves within them, and so pull
    nothing in. An odd last row or column is left out. Gradients reach ``images``.
    """
    batch, channels = images.shape[:2]
    images = images.flatten(0, 1)[:, None]
    taps = images.new_tensor(_TAPS)
    for _ in range(level):
        images = pad(images, (1, 1, 1, 1), mode="replicate")
        images = conv2d(images, taps.view(1, 1, 4, 1), stride=(2, 1))
        images = conv2d(images, taps.view(1, 1, 1, 4), stride=(1, 2))
    return images[:, 0].unflatten(0, (batch, channels))
