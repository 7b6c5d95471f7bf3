"""Weighted sums of a table's rows: what interpolation across faces and between texels comes to."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def mix_rows(
    table: Float[Tensor, "row channel"],
    index: Int[Tensor, "mixture part"],
    weights: Float[Tensor, "mixture part"],
) -> Float[Tensor, "mixture channel"]:
    """Sum the rows of ``table`` that ``index`` names (negative: none), times their weights.

    Gradients reach the table and the weights.

    Raises:
        ValueError: table and weights differ in precision or device, or the index names a row that
            is not there (elsewhere than on the CPU torch says so, as an IndexError).
    """
    if (table.dtype, table.device) != (weights.dtype, weights.device):
        raise ValueError(
            f"what is interpolated is {table.dtype} on {table.device}, but the fragments are "
            f"{weights.dtype} on {weights.device}; bring them together by .to()"
        )
    if table.device.type != "cpu":
        return mix_rows_reference(table, index, weights)
    from air3d.render.cpu import mixing  # loads Numba, so only when it is used

    return mixing.mix_rows(table, index, weights)


def mix_rows_reference(
    table: Float[Tensor, "row channel"],
    index: Int[Tensor, "mixture part"],
    weights: Float[Tensor, "mixture part"],
) -> Float[Tensor, "mixture channel"]:
    """Do the same in plain torch, on any device."""
    weights = torch.where(index >= 0, weights, 0.0)
    rows = table.index_select(0, index.clamp(min=0).flatten())
    return torch.bmm(weights[:, None], rows.view(*index.shape, table.shape[1]))[:, 0]
