"""How long each stage of a program takes, told from outside by the functions that it calls."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch


@dataclass(frozen=True)
class Timed:
    """A function whose time is a stage's.

    Attributes:
        owner: the object, class or module that it is looked up in when it is called.
        name: its name there.
        stage: what its time is counted under.
    """

    owner: object
    name: str
    stage: str


class Stopwatch:
    """The time of stages, each without that of the stages that begin and end within it.

    So the stages' times add up to that of the outermost. What is timed calls all of it on one
    thread; on a GPU its work is waited for wherever a stage begins or ends.

    Args:
        device: where the work is done.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._within: list[str] = []
        self._seconds: dict[str, float] = {}
        self._last = 0.0

    @contextlib.contextmanager
    def watching(self, functions: Iterable[Timed]) -> Iterator[None]:
        """Count the time of functions under their stages, until the end; they stay as they are."""
        with contextlib.ExitStack() as undoing:
            for one in functions:
                watched = self._watched(one.stage, getattr(one.owner, one.name))
                undoing.enter_context(mock.patch.object(one.owner, one.name, watched))
            yield

    def milliseconds(self, runs: int, stages: Iterable[str]) -> dict[str, float]:
        """Return the time of stages in one of ``runs``, 0 for one that did not occur."""
        times = dict.fromkeys(stages, 0.0) | self._seconds
        return {stage: 1e3 * seconds / runs for stage, seconds in times.items()}

    def _watched(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*arguments: Any, **options: Any) -> Any:
            self._charge()
            self._within.append(stage)
            try:
                return function(*arguments, **options)
            finally:
                self._charge()
                self._within.pop()

        return watched

    def _charge(self) -> None:
        """Give the time since the last call to the stage that it was spent in, if to any."""
        finish(self._device)
        now = time.perf_counter()
        if self._within:
            stage = self._within[-1]
            self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now


def seconds_of(step: Callable[[], object], device: torch.device) -> float:
    """Return how long a step takes, with all that a GPU does for it."""
    finish(device)
    start = time.perf_counter()
    step()
    finish(device)
    return time.perf_counter() - start


def finish(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
