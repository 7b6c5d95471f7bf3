"""One batch, one loss: the phases of training."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.data import RenderedScenes
from air3d.models import Air
from air3d.models.exposure import Exposure
from air3d.objectives import geometric_count_log_prior
from air3d.training.loop import Loss

WAKE_WEIGHT = 4e-3
"""Of the wake phase's loss beside the sleep phase's. A bound on thousands of pixels has a gradient
some 400 times as long as that of sleep (at the easy table), and would be all that is heard."""


def elbo_loss(
    model: Air,
    images: Float[Tensor, "batch channel height width"],
    count_log_prior: Float[Tensor, " count"],
    exposure: Exposure | None = None,
) -> Loss:
    """Return minus the ELBO of unlabelled images, in nats (the wake phase, and all of 2D).

    ``exposure`` is that of pictures which the model's own decoder did not make.
    """
    elbo = model.elbo(images, count_log_prior, exposure)
    figures = {
        "elbo": elbo.value.mean(),
        "log_likelihood": elbo.log_likelihood.mean(),
        "kl_discrete": elbo.kl_discrete.mean(),
        "kl_latents": elbo.kl_latents.mean(),
    }
    return Loss(-elbo.value.mean(), _detached(figures), {"images": images})


def sleep_loss(model: Air, batch: RenderedScenes) -> Loss:
    """Return minus the sleep objective of scenes that the model drew."""
    device = next(model.parameters()).device
    sleep = model.sleep(batch.images.to(device), batch.scenes.to(device))
    figures = {
        "objective": sleep.value.mean(),
        "count": sleep.count.mean(),
        "identity": sleep.identity.mean(),
        "location": sleep.location.mean(),
        "rotation": sleep.rotation.mean(),
        "appearance": sleep.appearance.mean(),
        "view": sleep.view.mean(),
        "attention": sleep.attention.mean(),
    }
    return Loss(-sleep.value.mean(), _detached(figures), _parts(batch))


def mixed_loss(
    model: Air,
    images: Float[Tensor, "batch channel height width"],
    dreams: RenderedScenes,
    count_log_prior: Float[Tensor, " count"],
    exposure: Exposure | None = None,
) -> Loss:
    """Return the losses of both phases, on images and on the model's own renders (dreams).

    With an ``exposure`` of the images, dreams are exposed as the images are, each as one of them:
    waking learns what the camera does, which is part of the generative model, and sleep teaches
    the guide scenes under that camera (the wake-sleep algorithm of Hinton et al. 1995).
    """
    wake = elbo_loss(model, images, count_log_prior, exposure)
    if exposure is not None:
        alike = exposure[torch.randint(len(images), (len(dreams),))].to("cpu")
        exposed = alike.exposed(dreams.images, model.scene_decoder.noise_std)
        dreams = RenderedScenes(exposed, dreams.scenes)
    sleep = sleep_loss(model, dreams)
    value = sleep.value + WAKE_WEIGHT * wake.value
    batch = {**sleep.batch, "pictures": images}
    return Loss(value, {**wake.figures, **sleep.figures}, batch)


def annealed_count_log_prior(
    max_steps: int, iteration: int, *, half_life: float, floor: float
) -> Float[Tensor, " count"]:
    """Return log p(n) ~ rho^n, where rho falls from 1 by half every ``half_life`` iterations.

    It starts flat, so that objects are found at all, and ends at ``floor``, so that each object
    must pay for itself.
    """
    return geometric_count_log_prior(max_steps, max(floor, 0.5 ** (iteration / half_life)))


def _parts(batch: RenderedScenes) -> dict[str, Tensor]:
    """Return a batch as tensors with names, for a post-mortem."""
    scenes, parts = vars(batch.scenes), {"images": batch.images}
    for name, part in scenes.items():
        fields = {name: part} if isinstance(part, Tensor) else vars(part)
        parts |= {key: value for key, value in fields.items() if isinstance(value, Tensor)}
    return parts


def _detached(figures: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in figures.items()}
