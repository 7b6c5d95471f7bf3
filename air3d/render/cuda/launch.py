"""Start Triton kernels where their tensors are."""

import contextlib

import torch
import triton
from torch import Tensor

from air3d.render.cuda import face_kernels


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on the CPU: ``TRITON_INTERPRET`` was set."""
    return not isinstance(face_kernels.centre, triton.JITFunction)


def launch(kernel, programs: int, *arguments, **constants) -> None:
    """Start a kernel's programs on the first argument's device, on torch's current stream.

    Constants are those that the kernel is compiled for, and Triton's own, as ``num_warps``.
    """
    if programs == 0:
        return
    device = arguments[0].device
    current = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    with current:
        kernel[(programs,)](*arguments, **constants)


def dense(*tensors: Tensor) -> list[Tensor]:
    """Return contiguous tensors without gradients: kernels address them by their shapes alone."""
    return [tensor.detach().contiguous() for tensor in tensors]


def power_of_2(count: int) -> int:
    """Return the smallest power of 2 that is no less, as blocks are as large as that."""
    return triton.next_power_of_2(count)


def blocks(count: int, size: int) -> int:
    """Return how many blocks of a size cover so many."""
    return triton.cdiv(count, size)
