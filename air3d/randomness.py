"""Random numbers: generators of one's own, and torch's global ones of the CPU and of one device."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def own_generator(*numbers: int) -> torch.Generator:
    """Return a generator of its own for each tuple of numbers; neighbouring ones are unrelated."""
    return torch.Generator().manual_seed(_seed(numbers))


@contextlib.contextmanager
def fixed_draws(seed: int, device: torch.device) -> Iterator[None]:
    """Draw the same within, whatever was drawn before, and change nobody else's random numbers."""
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def seed_apart(*numbers: int) -> None:
    """Seed torch's global random states by a tuple of numbers."""
    torch.manual_seed(_seed(numbers))


def random_states(device: torch.device) -> list[Tensor]:
    """Return torch's global random states: the CPU's, and a GPU's if ``device`` is one."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def set_random_states(states: list[Tensor], device: torch.device) -> None:
    """Go back to what :func:`random_states` returned; to what of it there is for a device."""
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def _seed(numbers: tuple[int, ...]) -> int:
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))
