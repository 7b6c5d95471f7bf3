"""Measure a step: median time, and memory at its peak above what was there before."""

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from air3d.benchmarks.ceilings import CPU

SLOW = 2e3  # milliseconds


@dataclass(frozen=True)
class Cost:
    """What a step costs.

    Attributes:
        forward: milliseconds from the inputs to the image.
        total: milliseconds with the gradients of all inputs.
        peak: mebibytes at the highest above those before the step, outputs included; None where
            the system does not tell (it is read from Linux's /proc).
    """

    forward: float
    total: float
    peak: float | None


def measure(forward: Callable[[], Tensor], leaves: Sequence[Tensor], runs: int) -> Cost:
    """Run ``forward`` and its backward pass; the medians of ``runs``, after two that warm up.

    The first may compile kernels. A step that takes longer than ``SLOW`` the second time is then
    run once.
    """

    def step() -> tuple[float, float]:
        start = time.perf_counter()
        image = forward()
        middle = time.perf_counter()
        torch.autograd.grad(image, leaves, torch.ones_like(image), allow_unused=True)
        return 1e3 * (middle - start), 1e3 * (time.perf_counter() - start)

    step()
    _, warm = step()
    rows = []
    peak = peak_memory(lambda: rows.extend(step() for _ in range(1 if warm > SLOW else runs)))
    forward_ms, total_ms = (median(column) for column in zip(*rows, strict=True))
    return Cost(forward_ms, total_ms, peak)


def peak_memory(step: Callable[[], object], device: torch.device = CPU) -> float | None:
    """Return by how many MiB the process grew at most while ``step`` ran; None if unknown.

    On a GPU: how many MiB torch took there at most beyond those before.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    _give_back_free_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
        before = _status("VmRSS")
        step()
        return (_status("VmHWM") - before) / 1024
    except OSError:
        return None


def _status(key: str) -> int:
    """Return a line of /proc/self/status, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {key}")


def _give_back_free_memory() -> None:
    """Return freed memory to the system, which glibc would otherwise reuse unseen."""
    if sys.platform == "win32":
        return  # there is no telling the process's own symbols from a name that is None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
