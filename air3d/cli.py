"""What every script does around its one call: read options, end on bad input with one sentence."""

import contextlib
import ctypes
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
import tyro

from air3d import ranks
from air3d.files import git_commit

Arguments = TypeVar("Arguments")


class InputError(ValueError):
    """What was asked cannot be done; the message names the file or argument and the remedy."""


def run(
    main: Callable[[Arguments], None], arguments: type[Arguments], description: str | None
) -> None:
    """Parse the command line into ``arguments`` and call ``main`` with it.

    Wrong input (any OSError, ValueError or FloatingPointError) ends the program with its one
    sentence and exit status 1; an interruption with status 130.
    """
    if ranks.started() > 1:
        sys.exit(f"{_program()}: works in one process alone; start it without torchrun")
    _run(main, arguments, description)


def run_together(
    main: Callable[[Arguments], None], arguments: type[Arguments], description: str | None
) -> None:
    """Do as :func:`run`, in one of torchrun's processes if it has started any.

    Rank 0 alone prints results.
    """
    ranks.join()
    silence = contextlib.nullcontext() if ranks.is_first() else open(os.devnull, "w")
    with silence as nowhere, contextlib.redirect_stdout(nowhere or sys.stdout):
        try:
            _run(main, arguments, description)
        finally:
            ranks.leave()


def _program() -> str:
    return Path(sys.argv[0]).stem


def _run(
    main: Callable[[Arguments], None], arguments: type[Arguments], description: str | None
) -> None:
    program = _program()
    # Adam's moments of idle units decay into denormal numbers, which cost a CPU 100 cycles each.
    torch.set_flush_denormal(True)
    keep_freed_memory()
    git_commit()
    torch.manual_seed(0)  # what takes no --seed draws the same each time
    warnings.showwarning = lambda message, *_: print(f"{program}: {message}", file=sys.stderr)
    try:
        main(tyro.cli(arguments, description=description, config=(tyro.conf.FlagCreatePairsOff,)))
    except (OSError, ValueError, FloatingPointError) as error:
        sys.exit(f"{program}: {error}")
    except (MemoryError, torch.OutOfMemoryError) as error:
        sys.exit(f"{program}: out of memory ({error}); lower --batch")
    except ranks.AnotherRankFailed:
        sys.exit(1)  # the other one says why
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(130)


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for what is allocated next, instead of giving it back.

    Each training step frees and takes the same hundreds of megabytes, and a fresh page costs about
    as much as to fill it: with this, steps take some 10 % less time. All threads share one arena:
    those of further ones are too small for what one pass of a thousand images takes, and would
    give all of it back. Elsewhere it does nothing.
    """
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # the names of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(arena_max, 1)


def choose_device(gpu: bool) -> torch.device:
    """Return the CUDA device of this rank (see :mod:`air3d.ranks`), or the CPU.

    Raises:
        ValueError: ``gpu`` is asked for and there is none.
    """
    if not gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            "--gpu: torch finds no CUDA device here (is it a CPU build of torch, or a missing "
            "driver?); leave --gpu out to use the CPU"
        )
    if ranks.local_rank() >= torch.cuda.device_count():
        raise ValueError(
            f"--gpu: this machine has {torch.cuda.device_count()} CUDA devices, of which each "
            "process takes one; start fewer by torchrun's --nproc-per-node"
        )
    return torch.device("cuda", ranks.local_rank())
