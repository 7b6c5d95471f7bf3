"""The training loop, and what it leaves on disk."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from air3d import ranks
from air3d.checkpoint import WEIGHTS, CheckpointError, save_model
from air3d.models import Air
from air3d.provenance import provenance
from air3d.randomness import random_states, seed_apart, set_random_states
from air3d.training.journal import Journal
from air3d.training.post_mortem import save_failure
from air3d.training.states import claimed, forget_after, has_states, load_state, save_state
from air3d.training.stopping import stop_requests


@dataclass(frozen=True)
class TrainSettings:
    """How long and how fast to train.

    Attributes:
        iterations: how many; or
        minutes: how long, wall clock. Only ``iterations`` makes a run repeatable bit by bit.
        learning_rate: Adam's, after ``warmup`` iterations of linear growth.
        hold: share of the training at full rate; then it falls to nothing along a cosine.
        max_grad_norm: larger gradients are scaled down to this norm.
        log_every, validate_every: iterations between lines of ``metrics.jsonl``.
        checkpoint_seconds: wall-clock time between states that ``--resume`` can start from.
        keep: how many of the last states stay on disk.
        tensorboard: write event files for TensorBoard as well.
    """

    iterations: int | None = None
    minutes: float | None = None
    learning_rate: float = 1e-3
    warmup: int = 100
    hold: float = 0.3
    max_grad_norm: float = 100.0
    log_every: int = 50
    validate_every: int = 500
    checkpoint_seconds: float = 60.0
    keep: int = 2
    tensorboard: bool = False

    def __post_init__(self):
        if self.iterations is None and self.minutes is None:
            raise ValueError("give either --iterations or --minutes: nothing says how long")
        if self.iterations is not None and self.minutes is not None:
            raise ValueError("give either --iterations or --minutes, and not both")
        for name in ("iterations", "minutes", "learning_rate", "warmup", "log_every"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                option = name.replace("_", "-")
                raise ValueError(f"--{option} must be a number greater than 0, got {value}")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"--checkpoint-seconds must be at least 0, got {self.checkpoint_seconds}"
            )
        if self.keep < 1:
            raise ValueError(f"--keep must be at least 1, got {self.keep}")

    def rate(self, iteration: int, progress: float) -> float:
        """Return the learning rate of an iteration, ``progress`` in [0, 1] of the way."""
        warm = min(1.0, (iteration + 1) / self.warmup)
        falling = max(0.0, (progress - self.hold) / (1.0 - self.hold))
        return self.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, falling)))


@dataclass(frozen=True)
class Loss:
    """One step's loss.

    Attributes:
        value: to be minimised.
        figures: for ``metrics.jsonl`` and the progress bar.
        batch: what it was computed from, to look at should it not be finite.
    """

    value: Tensor
    figures: Mapping[str, Tensor | float]
    batch: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Clock:
    """How far a training is; interruptions are left out.

    Time goes on from step to step, at all ranks alike: the learning rate and the end depend on it.

    Attributes:
        settings: how far it is to go.
        iteration: steps taken.
        batches: taken in them, one by each rank.
        seconds: spent.
    """

    settings: TrainSettings
    iteration: int = 0
    batches: int = 0
    seconds: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    @property
    def progress(self) -> float:
        """Share of the training that is done, at most 1."""
        if self.settings.iterations is not None:
            return min(1.0, self.iteration / self.settings.iterations)
        return min(1.0, self.seconds / (60.0 * (self.settings.minutes or 1.0)))

    def advance(self) -> None:
        """Count a step that was taken, and the time since the last one."""
        now = time.monotonic()
        (passed,) = ranks.largest([now - self._last])
        self.iteration, self.batches = self.iteration + 1, self.batches + ranks.size()
        self.seconds, self._last = self.seconds + passed, now


def train(
    model: Air,
    loss_of: Callable[[int], Loss],
    settings: TrainSettings,
    out: Path,
    *,
    record: Mapping[str, object],
    seed: int,
    validate: Callable[[], Mapping[str, float]],
    resume: bool = False,
    clock: Clock | None = None,
) -> Clock:
    """Minimise ``loss_of`` over the model's parameters, batch by batch.

    Writes to ``out``: ``metrics.jsonl``, a state every ``checkpoint_seconds``, and at the end the
    model as :func:`air3d.checkpoint.load_model` reads it. With ``resume``, goes on from the newest
    state that is not damaged: on a CPU, with ``iterations`` set, it ends at the very parameters
    that an uninterrupted run ends at. SIGTERM and SIGINT let a step end and its state be saved;
    then the program ends with status 143, or as after Ctrl-C.

    Args:
        model: trained in place.
        loss_of: the loss of batch number i; random numbers from torch's global state, or from
            generators that depend on i alone. Ranks take the next batches in turn, one each, and
            the mean of their gradients (see :mod:`air3d.ranks`).
        settings: how long and how fast.
        out: folder of this training; all ranks must see it.
        record: what is trained and how (scene, batch, ...; numbers, strings, lists), kept with
            the model. A resumed run must have the same record; it may have other ranks.
        seed: of the run, for its record.
        validate: figures on held-out data.
        resume: go on from the last state in ``out``.
        clock: of ``settings``, for a loss that goes by how far the training is; moved on in place.

    Raises:
        CheckpointError: there is no state to resume from, it is another training's, ``out``
            holds a model and ``resume`` is not set, another process trains there, or ``out`` cannot
            be written.
        FloatingPointError: the loss or its gradient is not finite; neither the model nor the last
            state is touched, and ``failure.pt`` holds what led there.
    """
    record = {**record, "seed": seed}
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, fused=True)
    clock = clock or Clock(settings)
    training = _Training(out, record, model, optimiser, clock, seed)
    if resume:
        training.restore()
    elif has_states(out) or (out / WEIGHTS).exists():
        raise CheckpointError(f"{out}: holds a model; add --resume, or choose another --out")
    elif ranks.size() > 1:
        training.seed_apart()
    begun, saved = clock.iteration, clock.seconds
    with contextlib.ExitStack() as ending:
        journal = None
        with ranks.together():
            if ranks.is_first():
                ending.enter_context(claimed(out))
                total = settings.iterations
                journal = Journal(out, begun, total, tensorboard=settings.tensorboard)
                ending.callback(journal.close)
        stop = ending.enter_context(stop_requests())
        while clock.progress < 1.0:
            loss, rate = training.step(loss_of)
            if journal:
                _report(journal, clock, {"rate": rate, **loss.figures}, validate)
            (stopping,) = ranks.largest([stop.asked])
            if stopping or clock.seconds - saved > settings.checkpoint_seconds:
                saved = clock.seconds
                training.save()
            if stopping:
                stop.leave(
                    f"stopped after iteration {clock.iteration}; --resume goes on from it and ends "
                    f"with a checkpoint, with --iterations {clock.iteration} at once"
                )
        # What is done, or has just been said, is not said again.
        if journal and clock.iteration > begun and clock.iteration % settings.validate_every:
            journal.announce(clock.iteration, clock.seconds, validate())
        training.save()
        training.finish()
    return clock


def _report(
    journal: Journal,
    clock: Clock,
    figures: Mapping[str, Tensor | float],
    validate: Callable[[], Mapping[str, float]],
) -> None:
    """Tell the journal of a step, as often as the settings want it."""
    journal.advance()
    if clock.iteration % clock.settings.log_every == 0:
        journal.write(clock.iteration, clock.seconds, figures)
    if clock.iteration % clock.settings.validate_every == 0:
        journal.announce(clock.iteration, clock.seconds, validate())


def take_step(optimiser: torch.optim.Optimizer, loss: Tensor, clock: Clock) -> float:
    """Take one step down a loss, at the learning rate that the clock's settings want now.

    Ranks take the same step, down the mean of their losses.

    Returns:
        The learning rate.

    Raises:
        FloatingPointError: the loss or its gradient is not finite; no parameter has moved.
    """
    rate = clock.settings.rate(clock.iteration, clock.progress)
    parameters = []
    for group in optimiser.param_groups:
        group["lr"] = rate
        parameters += group["params"]
    optimiser.zero_grad()
    loss.backward()
    if ranks.size() > 1:
        for parameter in parameters:
            if parameter.grad is None:  # here; at another rank it may have one
                parameter.grad = torch.zeros_like(parameter)
        ranks.average([parameter.grad for parameter in parameters])
    norm = torch.nn.utils.clip_grad_norm_(parameters, clock.settings.max_grad_norm)
    (not_finite,) = ranks.largest([not torch.isfinite(loss + norm)])
    if not_finite:
        raise FloatingPointError(
            f"the loss of iteration {clock.iteration}, or its gradient, is not finite; train "
            "again with a lower --learning-rate"
        )
    optimiser.step()
    clock.advance()
    return rate


@dataclass(frozen=True)
class _Training:
    """What is trained, and all that it goes on from after an interruption."""

    out: Path
    record: Mapping[str, object]
    model: Air
    optimiser: torch.optim.Optimizer
    clock: Clock
    seed: int

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def seed_apart(self) -> None:
        """Let each rank draw random numbers of its own."""
        seed_apart(self.seed, ranks.rank(), self.clock.iteration)

    def step(self, loss_of: Callable[[int], Loss]) -> tuple[Loss, float]:
        """Take one step, and return its loss and its learning rate.

        Raises:
            FloatingPointError: as of :func:`take_step`, or the loss cannot be computed with such
                weights; what led there is on disk.
        """
        random = random_states(self.device)
        try:
            loss = loss_of(self.clock.batches + ranks.rank())
        except (ArithmeticError, LookupError, RuntimeError, ValueError) as error:
            # Before the first step it is no matter of the weights; memory never is.
            if self.clock.iteration == 0 or isinstance(error, torch.OutOfMemoryError):
                raise
            kept = self._keep_failure(random, {})
            reason = " ".join(str(error).split())[:200]
            raise FloatingPointError(
                f"the loss of iteration {self.clock.iteration} cannot be computed any more "
                f"({reason}); train again with a lower --learning-rate ({kept})"
            ) from error
        try:
            return loss, take_step(self.optimiser, loss.value, self.clock)
        except FloatingPointError as error:
            kept = self._keep_failure(random, loss.batch)
            raise FloatingPointError(f"{error} ({kept})") from error

    def save(self) -> None:
        """Write a state, with the random states of all ranks."""
        random = ranks.gather(random_states(self.device))
        with ranks.together():
            if ranks.is_first():
                state = self._state() | {"random": random}
                save_state(self.out, self.clock.iteration, state, keep=self.clock.settings.keep)

    def finish(self) -> None:
        """Write the model, for use."""
        if not ranks.is_first():
            return
        made = {
            "iterations": self.clock.iteration,
            "seconds": round(self.clock.seconds),
            "ranks": ranks.size(),
            "provenance": asdict(provenance(self.seed, self.device)),
        }
        save_model(self.out, self.model, {**self.record, **made})

    def restore(self) -> None:
        """Go back to the last state on disk."""
        state = load_state(self.out)
        try:
            record = state["record"]
            different = [name for name, value in self.record.items() if record.get(name) != value]
            if different:
                raise CheckpointError(
                    f"{self.out}: was trained with another {', '.join(different)}; repeat its "
                    "command with --resume added, or choose another --out"
                )
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.clock.iteration = state["iteration"]
            self.clock.batches = state["batches"]
            self.clock.seconds = state["seconds"]
        except (KeyError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.out}: its states are not those of such a training ({error}); start "
                "without --resume, with another --out"
            ) from error
        if len(state["random"]) == ranks.size():
            set_random_states(state["random"][ranks.rank()], self.device)
        else:
            self.seed_apart()
        with ranks.together():
            if ranks.is_first():
                forget_after(self.out, self.clock.iteration)

    def _keep_failure(self, random: list[Tensor], batch: Mapping[str, Tensor]) -> str:
        """Keep what led to a failure, before which no parameter has moved, and say where."""
        return save_failure(self.out, self._state() | {"random": random}, batch)

    def _state(self) -> dict[str, object]:
        return {
            "record": dict(self.record),
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "iteration": self.clock.iteration,
            "batches": self.clock.batches,
            "seconds": self.clock.seconds,
        }
