"""Threads that run kernels, survive a fork, and stay out of the way of torch's own."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

# More chunks than threads, because items differ in cost; a chunk costs some tens of microseconds.
_CHUNKS_PER_THREAD = 4

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """View tensors as the contiguous arrays that the kernels are compiled for."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def empty_like(tensor: Tensor) -> Tensor:
    """Return a contiguous tensor to be filled, whatever the strides of the given one."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


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
    executor = _executor(threads)
    futures = [executor.submit(kernel, start, stop, *arguments) for start, stop in pairwise(bounds)]
    for future in futures:
        future.result()


def _executor(threads: int) -> ThreadPoolExecutor:
    """Return the process's threads, made anew when torch's number of threads has changed."""
    global _pool, _pool_size
    if _pool is None or _pool_size != threads:
        _pool, _pool_size = ThreadPoolExecutor(threads, "air3d-render"), threads
    return _pool


def _forget_threads() -> None:
    """Drop the executor in a forked child, which inherits it but not its threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
