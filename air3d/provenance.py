"""Where a figure comes from: machine, versions, commit, command; and how it is written down."""

import datetime
import json
import os
import platform
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from air3d.files import git_commit, write_atomically
from air3d.version import __version__


@dataclass(frozen=True)
class Provenance:
    """What somebody needs to make a figure again.

    Attributes:
        command: the command line that made it.
        seed: of its random numbers; None where there are none.
        commit: of this project's clone, with ``-dirty`` where files had changed; None outside one.
        time: when, UTC, ISO 8601.
        processor: model of the CPU.
        cores: how many of it this process may use; threads: how many torch uses.
        gpu: its name; None where none was used.
        system: operating system and architecture.
        versions: of Python and of the packages that the figure depends on, by name.
    """

    command: str
    seed: int | None
    commit: str | None
    time: str
    processor: str
    cores: int
    threads: int
    gpu: str | None
    system: str
    versions: dict[str, str]


def provenance(seed: int | None = None, device: torch.device | str = "cpu") -> Provenance:
    """Describe this process; ``device`` is where its tensors lived."""
    on_gpu = torch.device(device).type == "cuda"
    return Provenance(
        command=shlex.join(["python", *sys.argv]),
        seed=seed,
        commit=git_commit(),
        time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        processor=_processor(),
        cores=_cores(),
        threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name(device) if on_gpu else None,
        system=f"{platform.system()} {platform.machine()}",
        versions={
            "python": platform.python_version(),
            "air3d": __version__,
            "torch": str(torch.__version__),
            "numpy": str(np.__version__),
        },
    )


def check_writable(path: str | Path) -> None:
    """Check that a file can be written, before long work; nothing is made.

    Raises:
        OSError: no file can be written there; the message says so in one sentence.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise _unwritable(path, "it is a folder")
        there = next(parent for parent in path.absolute().parents if parent.exists())
    except PermissionError as error:
        raise _unwritable(path, error.strerror) from error
    if not there.is_dir():
        raise _unwritable(path, f"{there} is not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _unwritable(path, f"the folder {there} is read-only")


def write_json(path: str | Path, content: dict) -> None:
    """Write ``content`` to a file, whole or not at all; its folder is made as needed.

    Raises:
        OSError: the file cannot be written there.
        ValueError: ``content`` has a number that JSON lacks (NaN, infinity).
    """
    path = Path(path)
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    check_writable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
    except OSError as error:
        raise _unwritable(path, error.strerror) from error


def _unwritable(path: Path, reason: str | None) -> OSError:
    return OSError(f"{path}: cannot be written ({reason}); choose another place")


def _processor() -> str:
    """Return the CPU's model, which ``platform`` does not know on Linux."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # absent on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
