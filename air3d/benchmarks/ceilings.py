"""How fast a machine can do arithmetic and move memory, measured, the best of several tries."""

from collections.abc import Callable

import torch

from air3d.benchmarks.stopwatch import seconds_of

CPU = torch.device("cpu")
TRIES = 8


def matrix_product_speed(device: torch.device = CPU) -> float:
    """Return GFLOP/s of a large float32 matrix product, on as many threads as torch has."""
    size = 1024
    a = torch.randn(size, size, device=device)
    return 2e-9 * size**3 / _best_seconds(lambda: torch.mm(a, a), device)


def convolution_speed(device: torch.device = CPU, dtype: torch.dtype = torch.float32) -> float:
    """Return GFLOP/s of a large convolution, channels last as the networks' are."""
    images, channels, side, kernel = 16, 64, 32, 3
    x = torch.randn(images, channels, side, side, device=device).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(channels, channels, kernel, padding=1, device=device, dtype=dtype)
    with torch.no_grad():
        seconds = _best_seconds(lambda: layer(x), device)
    return 2e-9 * images * side**2 * channels**2 * kernel**2 / seconds


def memory_speed(device: torch.device = CPU) -> float:
    """Return GB/s, read and written, of a copy that is larger than caches are."""
    source = torch.ones(2**25, device=device)
    target = torch.empty_like(source)
    seconds = _best_seconds(lambda: target.copy_(source), device)
    return 2e-9 * source.numel() * source.element_size() / seconds


def _best_seconds(step: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time of several runs; one more warms up."""
    step()
    return min(seconds_of(step, device) for _ in range(TRIES))
