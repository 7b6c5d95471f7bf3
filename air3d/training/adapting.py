"""Adapt a model to pictures that it did not make, and that nobody labelled."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.data import PictureStream, Prefetch, SceneStream
from air3d.inference.exposing import find_exposure
from air3d.models import Air
from air3d.objectives import count_log_prior
from air3d.randomness import fixed_draws
from air3d.training.loop import Loss
from air3d.training.losses import elbo_loss, mixed_loss

AT_ONCE = 64
"""Held-out pictures that are looked at together."""


def waking_loss(model: Air, pictures: PictureStream) -> Callable[[int], Loss]:
    """Return the loss of each iteration that raises the ELBO of pictures.

    Here as in :func:`mixing_loss` the exposures of each batch of pictures are fitted to what the
    guide sees in them by now.
    """
    prior, device = _prior_and_device(model)

    def loss_of(number: int) -> Loss:
        images = pictures.batch(number).to(device)
        return elbo_loss(model, images, prior, find_exposure(model, images))

    return loss_of


def mixing_loss(model: Air, pictures: PictureStream, scenes: SceneStream) -> Callable[[int], Loss]:
    """Return the loss of each iteration that also teaches the guide renders exposed alike."""
    prior, device = _prior_and_device(model)
    dreams = Prefetch(scenes.batch)

    def loss_of(number: int) -> Loss:
        images = pictures.batch(number).to(device)
        exposure = find_exposure(model, images)
        return mixed_loss(model, images, dreams(number), prior, exposure)

    return loss_of


@torch.no_grad()
def held_out_figures(
    model: Air, pictures: Float[Tensor, "picture 3 height width"]
) -> dict[str, float]:
    """Say how well pictures are explained under their fitted exposures; it takes no labels.

    These are the mean ELBO (nats) and the median noise before the gain, with the same random
    numbers whatever was drawn before.
    """
    prior, device = _prior_and_device(model)
    bounds, noise = [], []
    with fixed_draws(0, device):
        for part in pictures.to(device).split(AT_ONCE):
            exposure = find_exposure(model, part)
            bounds.append(model.elbo(part, prior, exposure).value)
            noise.append(exposure.noise_std)
    return {
        "held_out_elbo": float(torch.cat(bounds).mean()),
        "noise": float(torch.cat(noise).median()),
    }


def _prior_and_device(model: Air) -> tuple[Float[Tensor, " count"], torch.device]:
    """Return log p(n), and where the weights are."""
    prior = count_log_prior(model.spec.count, model.max_steps)
    return prior, next(model.parameters()).device
