"""How well estimates explain the pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import SceneEstimate
from air3d.evaluation.summaries import Errors, summarise
from air3d.models import Air
from air3d.models.air import MAX_VALUES
from air3d.objectives import count_log_prior
from air3d.randomness import fixed_draws

SAME = 1e-10
"""Mean squared error from which on pictures count as equal (100 dB)."""


@dataclass(frozen=True)
class Fit:
    """How well estimates explain the pixels, image by image.

    Attributes:
        absolute_error: mean absolute difference of pixel values (in [0, 1]) between the image,
            noise and all, and its reconstruction.
        psnr: peak signal-to-noise ratio of the reconstruction, dB.
        log_likelihood: log p(x | mode), nats.
        elbo: bound of log p(x), nats, from one sample of q for each image, the counts and
            identities summed out; None where there are too many combinations of them.
    """

    absolute_error: Errors
    psnr: Errors
    log_likelihood: Errors
    elbo: Errors | None


def fit(
    images: Float[Tensor, "image channel height width"],
    estimates: Sequence[SceneEstimate],
    elbo: Errors | None,
) -> Fit:
    """Compare images with their reconstructions; ``elbo`` is passed on (see ``elbo_of``)."""
    off = [
        (image - said.reconstruction).double()
        for image, said in zip(images, estimates, strict=True)
    ]
    return Fit(
        absolute_error=summarise([float(image.abs().mean()) for image in off]),
        psnr=summarise([_decibels(image) for image in off]),
        log_likelihood=summarise([estimate.log_likelihood for estimate in estimates]),
        elbo=elbo,
    )


def elbo_of(model: Air, images: Float[Tensor, "image channel height width"]) -> Errors | None:
    """Bound log p(x) of every image; None where there are too many combinations of identities.

    Images are taken in chunks that fit, with the same random numbers whatever was drawn before.
    """
    chunk = MAX_VALUES // (len(model.hypotheses) * images[0].numel())
    if not chunk:
        return None
    prior = count_log_prior(model.spec.count, model.max_steps)
    with torch.no_grad(), fixed_draws(0, images.device):
        bounds = [model.elbo(part, prior).value for part in torch.split(images, min(chunk, 64))]
    return summarise(torch.cat(bounds).tolist())


def _decibels(off: Float[Tensor, "channel height width"]) -> float:
    return -10 * float(off.square().mean().clamp(min=SAME).log10())
