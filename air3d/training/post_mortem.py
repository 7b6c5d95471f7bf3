"""What is kept of a step whose loss is not finite."""

import io
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from air3d import ranks
from air3d.files import write_atomically

FAILURE = "failure.pt"
"""Of the first rank; the others' have their number before the ending."""


def save_failure(out: Path, state: Mapping[str, object], batch: Mapping[str, Tensor]) -> str:
    """Write the state before the step and the batch it failed on, and say in words where.

    ``torch.load`` reads the file; with its ``model`` and ``random`` the loss of its ``iteration``
    can be computed again. Where it cannot be written, the words say so: the failure counts more.
    """
    buffer = io.BytesIO()
    torch.save({**state, "batch": {name: part.detach() for name, part in batch.items()}}, buffer)
    path = out / (FAILURE if ranks.is_first() else f"failure.{ranks.rank()}.pt")
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        return f"{path} could not be written: {error.strerror}"
    return f"the batch and the weights are kept in {path}"
