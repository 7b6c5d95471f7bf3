"""Small tensors of known numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

Number = int | float
Numbers = Sequence[Number] | Sequence[Sequence[Number]]


def constant(numbers: Numbers, like: Tensor) -> Tensor:
    """Return numbers in the precision and on the device of a tensor.

    ``like.new_tensor(numbers)``, but that the host does not wait until a GPU has done all that was
    asked of it before.
    """
    return torch.tensor(numbers, dtype=like.dtype).to(like.device, non_blocking=True)
