"""What a camera that the scene file does not know made of pictures."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.inference.explanations import mode_of
from air3d.models import Air
from air3d.models.exposure import Exposure


@torch.no_grad()
def find_exposure(model: Air, images: Float[Tensor, "batch 3 height width"]) -> Exposure:
    """Fit each picture's exposure to the render of what the guide most probably sees in it.

    What the guide sees may be wrong: then there is more noise in what it cannot explain.
    """
    unrolled = model.mode(images)
    assert unrolled.canvas is not None, "scenes are painted"
    return Exposure.fitted(images, unrolled.canvas.shown_with(mode_of(unrolled).scenes.count))
