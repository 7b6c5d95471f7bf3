"""As many threads as torch has: of its own, for kernels, or for parts of a batch."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: operations this small cost more to share out than to do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def on_threads(function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Apply a function to every part, as many at a time as torch has threads.

    Within it torch has one thread: many small operations one after the other gain more from
    running beside another part's than from being shared out each.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(parts) == 1:
        return [function(part) for part in parts]
    return list(executor(threads).map(function, parts))


def executor(threads: int) -> ThreadPoolExecutor:
    """Return the process's threads, made anew when torch's number of threads has changed."""
    global _pool, _pool_size
    pool = _pool
    if pool is None or _pool_size != threads:
        pool = _pool = _started(threads)
        _pool_size = threads
    return pool


def _started(threads: int) -> ThreadPoolExecutor:
    """Return threads that all run, so that none of them sets the process's number any more."""
    pool, together = ThreadPoolExecutor(threads, "air3d", _keep_to_one), threading.Barrier(threads)
    for waiting in [pool.submit(together.wait) for _ in range(threads)]:
        waiting.result()
    torch.set_num_threads(threads)  # the workers' number is that of any new thread, until now
    return pool


def _keep_to_one() -> None:
    """Give torch one thread on this one, after its first question has set the process's number."""
    torch.get_num_threads()
    torch.set_num_threads(1)


def _forget_threads() -> None:
    """Drop the executor in a forked child, which inherits it but not its threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
