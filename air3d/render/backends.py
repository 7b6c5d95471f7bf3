"""Which backend computes: the one that is asked for, or the one for where the tensors are."""

from types import ModuleType

import torch

BACKENDS = ("auto", "cpu", "cuda", "reference")


def fast_backend(verb: str, backend: str, device: torch.device) -> ModuleType | None:
    """Return the module of the fast backend for tensors on a device; None for the reference.

    ``auto`` is ``cpu`` for the CPU, ``cuda`` for CUDA devices, and the reference elsewhere. Numba
    and Triton load here, when they are used.

    Raises:
        ValueError: there is no such backend, or it does not work on the device.
        ImportError: Triton is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"{verb}: backend must be auto, cpu, cuda or reference, got {backend!r}")
    if backend == "auto":
        backend = device.type if device.type in ("cpu", "cuda") else "reference"
    if backend == "reference":
        return None
    if backend == "cuda":
        return _cuda(verb, device)
    if device.type != "cpu":
        raise ValueError(
            f"{verb}: backend 'cpu' does not work on {device}; move the tensors to the CPU, or "
            "choose backend='auto'"
        )
    from air3d.render import cpu

    return cpu


def _cuda(verb: str, device: torch.device) -> ModuleType:
    """Return the CUDA backend, which works on the CPU where Triton interprets the kernels."""
    try:
        from air3d.render import cuda
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        raise ImportError(
            f"{verb}: the CUDA backend needs Triton, which comes with torch's builds for CUDA on "
            "Linux; install it, or choose backend='reference' (slow)"
        ) from error
    if device.type != "cuda" and not (device.type == "cpu" and cuda.interpreted()):
        raise ValueError(
            f"{verb}: backend 'cuda' does not work on {device}; move the tensors to a CUDA device, "
            "or, for tests on the CPU, start Python with TRITON_INTERPRET=1"
        )
    return cuda
