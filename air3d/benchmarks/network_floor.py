"""How far a step of a network is from the arithmetic and the traffic that torch makes of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from air3d.benchmarks.ceilings import convolution_speed, matrix_product_speed, memory_speed


@dataclass(frozen=True)
class NetworkFloor:
    """What a step computes and moves, and what that takes at the machine's best.

    Attributes:
        convolution_gigaflops, matrix_gigaflops: of its convolutions and of its matrix products,
            forward and backward; the renderer's kernels are no part of them.
        gigabytes: that its operations read and write, each by itself, as from memory.
        convolution_speed, matrix_speed: GFLOP/s that a large one reaches here.
        memory_speed: GB/s of a large copy.
    """

    convolution_gigaflops: float
    matrix_gigaflops: float
    gigabytes: float
    convolution_speed: float
    matrix_speed: float
    memory_speed: float

    @property
    def arithmetic(self) -> float:
        """Milliseconds that the arithmetic takes at that speed."""
        convolutions = self.convolution_gigaflops / self.convolution_speed
        return 1e3 * (convolutions + self.matrix_gigaflops / self.matrix_speed)

    @property
    def traffic(self) -> float:
        """Milliseconds that the traffic takes, if caches hold nothing."""
        return 1e3 * self.gigabytes / self.memory_speed


def network_floor(
    step: Callable[[], object], device: torch.device, convolutions: torch.dtype
) -> NetworkFloor:
    """Count what a step does, and measure how fast this machine could do it.

    Args:
        step: forward, and backward if it is part of it.
        device: where it is done.
        convolutions: the numbers that they compute with.
    """
    moved = _Traffic()
    with FlopCounterMode(display=False) as counter, moved:
        step()
    by_operation = counter.get_flop_counts().get("Global", {})
    convolved = sum(flops for name, flops in by_operation.items() if "convolution" in str(name))
    return NetworkFloor(
        convolution_gigaflops=1e-9 * convolved,
        matrix_gigaflops=1e-9 * (sum(by_operation.values()) - convolved),
        gigabytes=1e-9 * moved.bytes,
        convolution_speed=convolution_speed(device, convolutions),
        matrix_speed=matrix_product_speed(device),
        memory_speed=memory_speed(device),
    )


class _Traffic(TorchDispatchMode):
    """Counts the bytes of all that operations read and write; a view moves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += sum(_sizes((args, kwargs, out)))
        return out


def _sizes(values: object) -> Iterator[int]:
    """Yield the bytes of every tensor."""
    for value in tree_leaves(values):
        if isinstance(value, Tensor):
            yield value.numel() * value.element_size()
