"""Teach the twin what images hold.

Its labels come in one order, by which it must answer: the kinds as the scene file lists them.
Nothing says which of two of a kind comes first, so their labels come in either order, as whoever
laid the table did. This is where repeats hurt supervision and not AIR, which finds an order itself.
Nor is the twin told of symmetries: AIR finds out which turns look alike, labels do not say.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from tqdm import tqdm

from air3d.data import Prefetch, SceneStream
from air3d.rivals.twin import Twin
from air3d.scene import ABSENT, Scenes
from air3d.training import Clock, TrainSettings, take_step

PLACE_UNIT = 0.125
"""Of squared errors of places, in half images: a place of AIR's map; a turn's unit is 1 radian."""


def teach(twin: Twin, stream: SceneStream, settings: TrainSettings) -> Clock:
    """Minimise the loss of the stream's scenes; the twin changes in place.

    Raises:
        FloatingPointError: the loss or its gradient is not finite.
    """
    optimiser = torch.optim.Adam(twin.parameters(), lr=settings.learning_rate)
    batches, clock = Prefetch(stream.batch), Clock(settings)
    with tqdm(total=settings.iterations, disable=None, unit="it") as bar:
        while clock.progress < 1.0:
            batch = batches(clock.iteration)
            loss = twin_loss(twin, batch.images, batch.scenes)
            take_step(optimiser, loss, clock)
            bar.update()
            bar.set_postfix(loss=f"{loss.item():.4g}")
    return clock


def twin_loss(
    twin: Twin, images: Float[Tensor, "batch 3 height width"], scenes: Scenes
) -> Float[Tensor, ""]:
    """Return the mean over images of the cross entropies and half the squared errors.

    Each step is asked whether there is a further object, up to the one that finds none; what it is
    and where only where there is one.
    """
    scenes = in_order_of_kinds(scenes)
    answers, true = twin(images), twin.numbers(scenes)
    said = answers.numbers
    there = (scenes.identity != ABSENT).to(images.dtype)
    asked = torch.cat([torch.ones_like(there[:, :1]), there[:, :-1]], dim=1)
    presence = binary_cross_entropy_with_logits(
        answers.presence_logits, there, weight=asked, reduction="sum"
    )
    # Absent objects' identity (-1) is what cross entropy is told to leave out.
    identity = cross_entropy(
        answers.identity_logits.flatten(0, 1),
        scenes.identity.flatten(),
        ignore_index=ABSENT,
        reduction="sum",
    )
    place, turn, looks = said.place - true.place, said.turn - true.turn, said.looks - true.looks
    errors = torch.cat([place / PLACE_UNIT, turn, looks], dim=2)
    squared = (there[..., None] * errors.square()).sum() + (said.view - true.view).square().sum()
    return (presence + identity + 0.5 * squared) / len(images)


def in_order_of_kinds(scenes: Scenes) -> Scenes:
    """Order each scene's objects as the scene file lists their kinds, absent ones last."""
    kind = scenes.identity.masked_fill(scenes.identity == ABSENT, torch.iinfo(torch.int64).max)
    return scenes.pick(kind.argsort(dim=1, stable=True))
