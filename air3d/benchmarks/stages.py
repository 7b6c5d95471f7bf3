"""Where a step's time goes, by torch operation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

PREFIX = "air3d::"
REST = "torch"


def stage_times(
    forward: Callable[[], Tensor], leaves: Sequence[Tensor], runs: int
) -> dict[str, float]:
    """Return the milliseconds per run that each operation of this package takes.

    What is left of the whole, Python and torch's own operations, is under ``torch``.
    """
    image = forward()
    upstream = torch.ones_like(image)
    torch.autograd.grad(image, leaves, upstream)  # so that kernels are compiled by now
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(runs):
            with torch.profiler.record_function("step"):
                torch.autograd.grad(forward(), leaves, upstream)
    events = {event.key: 1e-3 * event.cpu_time_total / runs for event in profile.key_averages()}
    stages = {
        key.removeprefix(PREFIX): time for key, time in events.items() if key.startswith(PREFIX)
    }
    return stages | {REST: events["step"] - sum(stages.values())}
