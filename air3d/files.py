"""Files that appear complete or not at all, and what made them."""

import contextlib
import functools
import glob
import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name to write to; rename it to ``path`` if no error is raised.

    Whatever happens, nothing remains under the temporary name, unless the process is killed.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def temporary_name(path: Path) -> Path:
    """Return a name beside ``path``, ending in ``.tmp``, that no other process writes to.

    What processes of this machine that were killed left there for ``path`` is removed.
    """
    mine = f"{path.name}.{platform.node()}."
    for stray in path.parent.glob(f"{glob.escape(mine)}*.tmp"):
        process = stray.name.removeprefix(mine).removesuffix(".tmp")
        if process.isdecimal() and not _is_alive(int(process)):
            remove(stray)
    return path.with_name(f"{mine}{os.getpid()}.tmp")


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere os.kill would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or no number of a process
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all that it holds, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def to_json(content: object) -> bytes:
    """Encode as JSON text, one line, the same bytes for the same content."""
    return (json.dumps(content, allow_nan=False) + "\n").encode()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def git_commit() -> str | None:
    """Return the commit of this checkout (``-dirty`` if changed); None outside of one.

    It is that of the first call, before which a long program should not do any work: what it has
    imported stays of that commit, whatever is checked out later.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():  # never the commit of a repository around the installation
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
