"""What the tests of the CUDA backend share; without Triton they are skipped."""

import dataclasses
import os
from typing import TypeVar

import pytest
import torch

pytest.importorskip("triton")


Value = TypeVar("Value")


def without_interpreter() -> dict[str, str]:
    """Return the environment of a process in which Triton does not interpret."""
    return {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": "tests"}


def sent(value: Value, device: torch.device) -> Value:
    """Return a value with all of its tensors on a device, as leaves where they ask for gradients.

    A value is a tensor, a dataclass, or a dict, list or tuple of values.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().to(device).requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {name: sent(part, device) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(sent(part, device) for part in value)
    if dataclasses.is_dataclass(value):
        parts = {
            field.name: sent(getattr(value, field.name), device)
            for field in dataclasses.fields(value)
            if field.name != "meshes"
        }
        return dataclasses.replace(value, **parts)
    return value
