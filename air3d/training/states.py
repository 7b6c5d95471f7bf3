"""What a training can go on from: its last states on disk, the newest good one of which counts.

A state is ``states/ITERATION.pt`` in the training's folder. It appears whole or not at all, and is
on the disk before the oldest one goes; what a crash of the machine damaged all the same is passed
over.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from air3d.checkpoint import STATES, CheckpointError
from air3d.files import replacing

LOCK = "training.lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a folder, which is made if it is not there.

    The claim ends with the process, however that ends. Where the system has no such locks nothing
    is kept.

    Raises:
        CheckpointError: another process trains there, or the folder cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be written ({error.strerror}); choose another --out"
        ) from error
    with file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CheckpointError(
                f"{folder}: another process is training there; wait for it, or choose another --out"
            ) from error
        except (ImportError, OSError):
            pass
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def save_state(folder: Path, iteration: int, state: Mapping[str, object], *, keep: int = 1) -> None:
    """Write what resuming needs (tensors, numbers, strings), and keep the last few states.

    States of later iterations go too (see :func:`forget_after`).

    Raises:
        CheckpointError: the folder cannot be written; the states that were there are intact.
    """
    path = folder / STATES / f"{iteration:09d}.pt"
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); free space there, then --resume"
        ) from error
    paths = _newest_first(folder)
    here = paths.index(path)
    _remove(paths[:here] + paths[here + keep :])


def forget_after(folder: Path, iteration: int) -> None:
    """Remove states of later iterations: they are damaged, or belong to a run that was given up."""
    _remove([path for path in _newest_first(folder) if int(path.stem) > iteration])


def load_state(folder: Path) -> dict:
    """Read the newest state that is not damaged, and warn of those that are.

    Raises:
        CheckpointError: there is none.
    """
    paths = _newest_first(folder)
    for path in paths:
        try:
            content = io.BytesIO(path.read_bytes())
        except OSError as error:
            raise CheckpointError(
                f"{path}: cannot be read ({error.strerror}); mend that, then --resume"
            ) from error
        try:
            return torch.load(content, map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = " ".join(str(error).split())[:200]
            warnings.warn(f"{path}: is damaged ({reason}); passed over", stacklevel=2)
    if paths:
        raise CheckpointError(
            f"{folder / STATES}: every state is damaged; start without --resume, with another --out"
        )
    raise CheckpointError(
        f"{folder}: holds no state to resume from; start without --resume, or give the folder of a "
        "training"
    )


def has_states(folder: Path) -> bool:
    """Return whether a training has left states there."""
    return bool(_newest_first(folder))


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[Path]:
    paths = [path for path in (folder / STATES).glob("*.pt") if path.stem.isdecimal()]
    return sorted(paths, key=lambda path: int(path.stem), reverse=True)
