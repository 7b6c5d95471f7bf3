"""What a step of training costs, by phase and by stage, without a change to the training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from air3d.benchmarks.measure import peak_memory
from air3d.benchmarks.network_floor import NetworkFloor, network_floor
from air3d.benchmarks.stages import stage_times
from air3d.benchmarks.stopwatch import Stopwatch, Timed, seconds_of
from air3d.data import Prefetch, RenderedScenes, SceneStream
from air3d.models import SceneConfig, build_air, compute_convolutions_in
from air3d.models.canvas import Canvas
from air3d.objectives import count_log_prior
from air3d.scene import SceneSpec
from air3d.training import Clock, TrainSettings, elbo_loss, mixed_loss, sleep_loss, take_step

Phase = Literal["sleep", "wake", "mixed"]
PHASES: tuple[Phase, ...] = ("sleep", "wake", "mixed")

SCENES, RENDERING, NOISE = "drawing scenes", "rendering the batch", "noise"
ENCODER, LEFT_OVER = "encoder", "what is left over"
HEADS, HYPOTHESES = "heads and losses", "rendering hypotheses"
BACKWARD, OPTIMISER = "backward", "optimiser"
STAGES = (
    SCENES,
    RENDERING,
    NOISE,
    ENCODER,
    LEFT_OVER,
    HEADS,
    HYPOTHESES,
    BACKWARD,
    OPTIMISER,
)
"""Where a step's time goes.

*What is left over* is what the guide paints of the objects found so far and takes out of the image;
in the sleep phase it draws them first, by looks of its own. *Rendering hypotheses* is the wake
phase's log p(x | h, z), forward; backward it is under *backward*. *Heads and losses* is all else of
the loss: the recurrent state, searches, glimpses, densities. The *optimiser* clears, clips and
checks the gradients, too.
"""

TABLETOP = SceneConfig(channels=(24, 48, 96, 128), features=256)
"""Sizes of the network of the shipped checkpoint of the laid table."""

WARM_UP = 2
"""Steps before any that is measured; the first may compile kernels."""


@dataclass(frozen=True)
class TrainWorkload:
    """What is trained.

    Attributes:
        spec: the scene file.
        network: sizes of the network, whose weights are new.
        batch: images in a step.
        device: where the network is; scenes are rendered on the CPU.
        convolutions: the numbers that they compute with.
    """

    spec: SceneSpec
    network: SceneConfig
    batch: int = 64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    convolutions: torch.dtype = torch.float32


@dataclass(frozen=True)
class TrainCost:
    """What a phase's steps cost.

    Attributes:
        phase: of training.
        steps_per_second: as ``train_3d.py`` takes them: the next batch is made in a second thread.
        step: milliseconds of a step whose batch is made first, in the same thread.
        stages: milliseconds of its ``STAGES``, which add up to ``step``.
        operations: milliseconds of the renderer's operations in a loss and its gradient, measured
            apart by torch's profiler, and of all else there under ``torch``.
        peak: mebibytes at the highest above those before a step; None where it cannot be known.
        floor: of the loss and its gradient.
    """

    phase: Phase
    steps_per_second: float
    step: float
    stages: dict[str, float]
    operations: dict[str, float]
    peak: float | None
    floor: NetworkFloor


def measure_training(workload: TrainWorkload, phase: Phase, runs: int) -> TrainCost:
    """Take ``runs`` steps of a phase as they are trained, as many by stage, and some more.

    Gradients reach the weights, which change as in a training.
    """
    trainee = Trainee(workload, phase)
    steps_per_second = _steps_per_second(trainee, runs)
    stopwatch = Stopwatch(workload.device)
    with stopwatch.watching(trainee.timed()):
        for number in range(runs):
            trainee.step(trainee.stream.batch(number))
    stages = stopwatch.milliseconds(runs, STAGES)
    batch = trainee.stream.batch(0)
    peak = peak_memory(lambda: trainee.step(batch), workload.device)
    weights = [weight for weight in trainee.model.parameters() if weight.grad is not None]
    return TrainCost(
        phase=phase,
        steps_per_second=steps_per_second,
        step=sum(stages.values()),
        stages=stages,
        operations=stage_times(lambda: trainee.loss(batch), weights, 1),
        peak=peak,
        floor=network_floor(
            lambda: trainee.loss(batch).backward(), workload.device, workload.convolutions
        ),
    )


class Trainee:
    """A model in training, step by step.

    Attributes:
        model: what is trained.
        stream: where its batches come from.
        device: where the model is.

    Args:
        workload: what is trained.
        phase: which loss is lowered.
    """

    def __init__(self, workload: TrainWorkload, phase: Phase):
        torch.manual_seed(0)
        self.stream = SceneStream(workload.spec, batch=workload.batch, seed=0)
        model = build_air(workload.spec, workload.network, self.stream.meshes)
        self.model = model.to(workload.device)
        compute_convolutions_in(workload.convolutions, self.model)
        self._phase = phase
        self.device = workload.device
        self._prior = count_log_prior(workload.spec.count, self.model.max_steps)
        self._clock = Clock(TrainSettings(iterations=1000))
        self._optimiser = torch.optim.Adam(self.model.parameters(), fused=True)

    def loss(self, batch: RenderedScenes) -> Tensor:
        """Return the phase's loss, as ``train_3d.py`` computes it from its own scenes."""
        if self._phase == "sleep":
            return sleep_loss(self.model, batch).value
        images = batch.images.to(self.device)
        if self._phase == "wake":
            return elbo_loss(self.model, images, self._prior).value
        return mixed_loss(self.model, images, batch, self._prior).value

    def step(self, batch: RenderedScenes) -> None:
        """Lower the loss of a batch."""
        take_step(self._optimiser, self.loss(batch), self._clock)

    def timed(self) -> list[Timed]:
        """Return the functions that tell the stages apart."""
        head = self.model.pose_head
        painting = [(head, "blank"), (head, "paint"), (head, "left_over"), (Canvas, "left_over")]
        return [
            Timed(self.stream, "batch", NOISE),
            Timed(self.stream.prior, "sample", SCENES),
            Timed(self.stream, "render", RENDERING),
            Timed(self.model.guide.encoder, "forward", ENCODER),
            *(Timed(owner, name, LEFT_OVER) for owner, name in painting),
            Timed(self.model.scene_decoder, "log_likelihood", HYPOTHESES),
            Timed(self, "loss", HEADS),
            Timed(torch.autograd, "backward", BACKWARD),
            Timed(self, "step", OPTIMISER),
        ]


def _steps_per_second(trainee: Trainee, runs: int) -> float:
    """Time steps whose batches are made in a second thread, after some that warm up."""
    batches: Callable[[int], RenderedScenes] = Prefetch(trainee.stream.batch)

    def take(first: int, last: int) -> None:
        for number in range(first, last):
            trainee.step(batches(number))

    take(0, WARM_UP)
    return runs / seconds_of(lambda: take(WARM_UP, WARM_UP + runs), trainee.device)
