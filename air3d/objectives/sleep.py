"""The sleep phase: maximum likelihood of the guide on scenes that the model itself drew.

Maximising ``E_{p(z, x)} log q(z | x)`` minimises the KL of the true posterior from q, averaged
over the model's own images (Hinton et al. 1995; Le et al. 2019 call it inference compilation).
No labelled image enters: scene and image both come from the generative model.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.objectives.presence import count_log_prob


@dataclass(frozen=True)
class TaughtSteps:
    """Log-densities that the guide gives the true latents, step by step.

    Attributes:
        presence_logits: of q(z_pres_i = 1) [B, N].
        identity_log_prob: log q(k_i) of the true identity [B, N].
        location_log_prob: log-density of the true place in the coordinates of the glimpse's
            window [B, N]; the window is a function of the image, so this differs from the
            density on the plane by what carries no gradient.
        rotation_log_prob: log-density of the true rotation given the true identity [B, N].
        appearance_log_prob: log-density of the true scale and colour, in half widths of their
            prior's ranges [B, N].
        attention_log_prob: log-density of the true place under the coarse window that chooses
            the glimpse [B, N]; it trains the window and is no part of q(z | x).
    """

    presence_logits: Float[Tensor, "batch step"]
    identity_log_prob: Float[Tensor, "batch step"]
    location_log_prob: Float[Tensor, "batch step"]
    rotation_log_prob: Float[Tensor, "batch step"]
    appearance_log_prob: Float[Tensor, "batch step"]
    attention_log_prob: Float[Tensor, "batch step"]


@dataclass(frozen=True)
class Sleep:
    """The objective (to be maximised) and its parts, in nats, one per image [B].

    ``value`` is the sum of the others: log q of the true scene, plus ``attention``.
    """

    value: Float[Tensor, " batch"]
    count: Float[Tensor, " batch"]
    identity: Float[Tensor, " batch"]
    location: Float[Tensor, " batch"]
    rotation: Float[Tensor, " batch"]
    appearance: Float[Tensor, " batch"]
    view: Float[Tensor, " batch"]
    attention: Float[Tensor, " batch"]


def sleep_objective(
    steps: TaughtSteps, count: Int[Tensor, " batch"], view: Float[Tensor, " batch"]
) -> Sleep:
    """Add up the log-densities of the true latents; gradients reach ``steps`` and ``view``.

    Args:
        steps: the guide's log-densities; steps after ``count`` do not enter.
        count: true number of objects.
        view: log-density of the true camera and light.
    """
    present = torch.arange(steps.presence_logits.shape[1], device=count.device) < count[:, None]

    def total(log_prob: Float[Tensor, "batch step"]) -> Float[Tensor, " batch"]:
        return torch.where(present, log_prob, 0.0).sum(dim=1)

    log_count = count_log_prob(steps.presence_logits).gather(1, count[:, None])[:, 0]
    identity = total(steps.identity_log_prob)
    location = total(steps.location_log_prob)
    rotation = total(steps.rotation_log_prob)
    appearance = total(steps.appearance_log_prob)
    attention = total(steps.attention_log_prob)
    return Sleep(
        value=log_count + identity + location + rotation + appearance + view + attention,
        count=log_count,
        identity=identity,
        location=location,
        rotation=rotation,
        appearance=appearance,
        view=view,
        attention=attention,
    )
