"""Notice pictures of other scenes than the model's: what was found does not explain them."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from air3d.estimate import SceneEstimate
from air3d.models.exposure import Exposure

MOST = 4.0
"""Times its own noise that a scene file's picture may differ from what was found in it.

After one pass the checkpoints ``single_object`` and ``tabletop`` leave at most 1.4 and 3.5 in 1,000
pictures of their own; more than 4 in 1 of 1,198 and 0 of 270 that are brighter or darker by up to
50 %, tinted by up to 30 %, four times as noisy or under another light, and that they get right all
the same; and more than 4 in 78 and 82 of 82 photographs and pieces of them."""


@torch.no_grad()
def strangers(
    images: Float[Tensor, "batch 3 height width"],
    estimates: Sequence[SceneEstimate],
    noise_std: float,
) -> Bool[Tensor, " batch"]:
    """Return which images are far less likely under a 3D model than pictures of its own.

    That is where they differ from their reconstructions by more than ``MOST`` times the noise
    (root of the mean square), as they are and under the exposure that brings them nearest to these:
    a bright picture of the model's scene, or a tinted one, is none of another.

    Args:
        images: values in [0, 1].
        estimates: what was found in each.
        noise_std: the noise of the model's scene file.
    """
    shown = torch.stack([estimate.reconstruction for estimate in estimates])
    as_it_is = (images - shown).square().mean(dim=(1, 2, 3)).sqrt()
    exposed = Exposure.fitted(images, shown).noise_std
    return torch.minimum(as_it_is, exposed) > MOST * noise_std
