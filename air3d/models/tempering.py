"""Gradients by which densities are taught, other than their own."""

from jaxtyping import Float
from torch import Tensor


def temper_gradient(
    log_prob: Float[Tensor, "*batch"], std: Float[Tensor, "*batch axis"]
) -> Float[Tensor, "*batch"]:
    """Keep a normal log-density's value, multiply its gradient by its own standard deviation.

    A sharp normal's gradient grows as 1 / std and would drown those of identity and rotation in the
    layers they share. This is the beta-NLL of Seitzer et al. 2022 with beta = 1/2. ``std`` is
    averaged (geometrically) over its last axis.
    """
    weight = std.detach().log().mean(dim=-1).exp()
    return with_gradient_of(weight * log_prob, log_prob)


def with_gradient_of(source: Float[Tensor, "*batch"], value: Float[Tensor, "*batch"]) -> Tensor:
    """Return ``value`` with the gradient of ``source`` and not its own."""
    return value.detach() + (source - source.detach())
