"""What it costs to infer images, by effort, by size of batch and by stage."""

from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.benchmarks.measure import peak_memory
from air3d.benchmarks.stopwatch import Stopwatch, Timed, seconds_of
from air3d.data import SceneStream
from air3d.inference import Effort, infer, inferring, refinement, rescoring
from air3d.models import Air
from air3d.models.canvas import Canvas
from air3d.threads import one_thread

ENCODER, LEFT_OVER, HEADS = "encoder", "what is left over", "heads"
TURNS, PULLING, SETTLING = "lights and turns", "pulling in", "settling"
OTHERS, ESTIMATES = "other objects", "estimates"
STAGES = (ENCODER, LEFT_OVER, HEADS, TURNS, PULLING, SETTLING, OTHERS, ESTIMATES)
"""Where the time goes.

*Heads* are all of the guide's one pass but its encoder and *what is left over*, its canvas. Then
come the stages of a search: *lights and turns* that are tried, *pulling in* by gradients,
*settling* by least squares (of edited scenes, too), and *other objects*, which the rounds propose
and choose from, draws of whole scenes among them. *Estimates* say how sure it all is.
"""


@dataclass(frozen=True)
class InferCost:
    """What it costs to infer a batch.

    Attributes:
        effort: in words, "one pass" or what is done beyond it.
        batch: images that are inferred together.
        images_per_second: on as many threads as torch has.
        step: milliseconds of the whole batch on one thread.
        stages: milliseconds of its ``STAGES``, which add up to ``step``.
        peak: mebibytes at the highest above those before; None where it cannot be known.
    """

    effort: str
    batch: int
    images_per_second: float
    step: float
    stages: dict[str, float]
    peak: float | None


def measure_inference(
    model: Air, images: Float[Tensor, "batch channel height width"], effort: Effort, runs: int
) -> InferCost:
    """Infer the same images ``runs`` times on all threads, as often on one, and some more."""
    device = images.device
    step = partial(infer, model, images, effort)
    step()
    seconds = median(seconds_of(step, device) for _ in range(runs))
    stopwatch = Stopwatch(device)
    with one_thread(), stopwatch.watching(_timed(model)):
        for _ in range(runs):  # by the name that is watched, not by this module's own
            inferring.infer(model, images, effort)
    stages = stopwatch.milliseconds(runs, STAGES)
    return InferCost(
        effort=str(effort),
        batch=len(images),
        images_per_second=len(images) / seconds,
        step=sum(stages.values()),
        stages=stages,
        peak=peak_memory(step, device),
    )


def _timed(model: Air) -> list[Timed]:
    """Return the functions that tell the stages apart."""
    head = model.pose_head
    painting = [(head, "blank"), (head, "paint"), (Canvas, "left_over")]
    settling = [(refinement, "settle"), (rescoring, "settle"), (rescoring, "settle_object")]
    return [
        Timed(inferring, "infer", ESTIMATES),
        Timed(model, "mode", HEADS),
        Timed(model.guide.encoder, "forward", ENCODER),
        *(Timed(owner, name, LEFT_OVER) for owner, name in painting),
        Timed(inferring, "try_lights", TURNS),
        Timed(inferring, "try_rotations", TURNS),
        Timed(inferring, "refine", SETTLING),
        Timed(refinement, "pull_in", PULLING),
        *(Timed(owner, name, SETTLING) for owner, name in settling),
        Timed(inferring, "rescore", OTHERS),
    ]


def images_to_infer(model: Air, number: int, device: torch.device) -> Tensor:
    """Return fresh images of the model's own scene file, [number, 3, height, width]."""
    spec = model.scene_decoder.spec
    images = SceneStream(spec, batch=number, seed=0).batch(0).images
    return images.clamp(0.0, 1.0).to(device)
