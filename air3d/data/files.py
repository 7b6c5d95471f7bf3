"""Files that appear complete or not at all, and the record of what made them."""

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import air3d
from air3d.data.errors import DataError


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


def read_json(path: Path) -> dict:
    """Read a JSON object.

    Raises:
        DataError: the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: must hold a JSON object, holds a {type(content).__name__}")
    return content


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_commit() -> str | None:
    """Return the commit of this checkout (``-dirty`` if changed); None outside of one."""
    root = Path(air3d.__file__).resolve().parent.parent
    if not (root / ".git").exists():  # never the commit of a repository around the installation
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def claim(path: Path, settings: dict) -> None:
    """Write the record of a data set's making, or check that the one there is the same.

    Raises:
        DataError: the record there was made with other settings; the message names them.
    """
    if path.exists():
        check_settings(path, read_json(path), settings)
    else:
        write_atomically(path, to_json({**settings, "git_commit": git_commit()}))


def check_settings(path: Path, there: dict, wanted: dict) -> None:
    """Refuse to go on with a data set that was made with other settings.

    The commit is recorded but not compared: an interrupted run may be finished after a change
    that does not touch the images.
    """
    wanted = json.loads(to_json(wanted))
    keys = (there.keys() | wanted.keys()) - {"git_commit"}
    different = sorted(key for key in keys if there.get(key) != wanted.get(key))
    if different:
        raise DataError(
            f"{path}: was made with other settings ({', '.join(different)}); "
            "choose another --out, or remove that data set first"
        )
