"""The record of how a data set was made: it is not mixed with another."""

import json
from pathlib import Path

from air3d.data.errors import DataError
from air3d.files import git_commit, to_json, write_atomically


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
