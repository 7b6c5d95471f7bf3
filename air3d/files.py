"""Files that appear complete or not at all, and what made them."""

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name to write to; rename it to ``path`` if no error is raised.

    Whatever happens, nothing remains under the temporary name, unless the process is killed.
    """
    temporary = path.with_name(f"{path.name}.tmp")
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


def to_json(content: object) -> bytes:
    """Encode as JSON text, one line, the same bytes for the same content."""
    return (json.dumps(content, allow_nan=False) + "\n").encode()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_commit() -> str | None:
    """Return the commit of this checkout (``-dirty`` if changed); None outside of one."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():  # never the commit of a repository around the installation
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
