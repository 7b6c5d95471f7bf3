"""Several processes that work as one, as torchrun starts them; a program that runs alone is rank 0.

Each of torchrun's processes has a number, its rank. What one of them waits for all must come to:
every rank calls :func:`average`, :func:`largest`, :func:`gather` and :func:`together` as often, in
the same order. Alone they wait for nobody.
"""

import contextlib
import datetime
import io
import os
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Part = TypeVar("Part")


def started() -> int:
    """Return how many processes torchrun has started; 1 where it has not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join() -> None:
    """Join the other processes, where torchrun has started any; to be called once, at the start.

    Tensors on the CPU go by gloo, those on GPUs by nccl.
    """
    if started() > 1:
        with_gpus = torch.cuda.is_available() and dist.is_nccl_available()
        backends = "cpu:gloo,cuda:nccl" if with_gpus else "gloo"
        # Torch's own half an hour is less than a shard or a search may take; when a process dies,
        # torchrun ends those that wait for it.
        dist.init_process_group(backends, timeout=datetime.timedelta(days=7))


def leave() -> None:
    """Leave the others, after all else."""
    if size() > 1:
        dist.destroy_process_group()


def size() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number among them, from 0."""
    return dist.get_rank() if size() > 1 else 0


def is_first() -> bool:
    """Return whether this is the process that writes and prints what all of them have made."""
    return rank() == 0


def local_rank() -> int:
    """Return this process's number among those of this machine, which chooses its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors, of one device and dtype, by their mean over all ranks."""
    if size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, mean in zip(
        tensors, (flat / size()).split([tensor.numel() for tensor in tensors]), strict=True
    ):
        tensor.copy_(mean.view_as(tensor))


def largest(numbers: Sequence[float | int]) -> list[float | int]:
    """Return for each number the largest that any rank has."""
    if size() == 1:
        return list(numbers)
    all_of_them = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(all_of_them, dist.ReduceOp.MAX)
    return all_of_them.tolist()


def gather(part: Part) -> list[Part]:
    """Return what every rank has, on rank 0 and in its order; nothing on the others.

    Parts may be whatever ``torch.save`` takes.
    """
    if size() == 1:
        return [part]
    # Pickled one by one, tensors that share their memory would each take all of it along.
    buffer = io.BytesIO()
    torch.save(part, buffer)
    everywhere: list[bytes] | None = [b""] * size() if is_first() else None
    dist.gather_object(buffer.getvalue(), everywhere)
    return [torch.load(io.BytesIO(each), weights_only=False) for each in everywhere or []]


class AnotherRankFailed(RuntimeError):
    """What this process waited for failed in another one, which says why."""


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Wait at the end for all ranks to have ended it; where one fails, all of them do.

    Raises:
        AnotherRankFailed: at the ranks that did not fail themselves.
    """
    try:
        yield
    except BaseException:
        largest([True])
        raise
    (failed,) = largest([False])
    if failed:
        raise AnotherRankFailed("another process failed, and said why")
