"""Run kernels over ranges of their items, on threads."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from air3d.threads import executor

# More chunks than threads, because items differ in cost; a chunk costs some tens of microseconds.
_CHUNKS_PER_THREAD = 4


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """View tensors as the contiguous arrays that the kernels are compiled for."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def for_ranges(
    kernel: Callable, count: int, arguments: list, chunks_per_thread: int = _CHUNKS_PER_THREAD
) -> None:
    """Run ``kernel(start, stop, *arguments)`` over ranges that cover ``count`` items, on threads.

    As many threads as torch has (``torch.get_num_threads``). One chunk for each suits kernels
    that do some of their work anew for every range.
    """
    threads = torch.get_num_threads()
    if threads == 1 or count <= 1:
        kernel(0, count, *arguments)
        return
    chunks = min(count, threads * chunks_per_thread)
    bounds = [count * chunk // chunks for chunk in range(chunks + 1)]
    submit = executor(threads).submit
    futures = [submit(kernel, start, stop, *arguments) for start, stop in pairwise(bounds)]
    for future in futures:
        future.result()
