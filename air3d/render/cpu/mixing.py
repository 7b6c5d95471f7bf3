"""Mix the rows of a table, one range of mixtures per thread."""

import torch
from torch import Tensor

from air3d.render.cpu import mixing_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.operations import empty_like


@torch.library.custom_op("air3d::mix_rows", mutates_args=())
def mix_rows(table: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """See :func:`air3d.render.mixing.mix_rows`."""
    _check_rows(index, len(table))
    mixed = table.new_empty(len(index), table.shape[1])
    for_ranges(mixing_kernels.mix_rows, len(index), arrays(table, index, weights, mixed))
    return mixed


@mix_rows.register_fake
def _(table, index, weights):
    return table.new_empty(len(index), table.shape[1])


@torch.library.custom_op("air3d::mix_rows_backward", mutates_args=())
def _mix_rows_backward(
    table: Tensor, index: Tensor, weights: Tensor, grad_mixed: Tensor
) -> tuple[Tensor, Tensor]:
    grad_weights = empty_like(weights)
    inputs = arrays(table, index, grad_mixed, grad_weights)
    for_ranges(mixing_kernels.weight_gradient, len(index), inputs)
    # In float64, as a row may be in thousands of mixtures.
    grad_table = table.new_empty(table.shape, dtype=torch.float64)
    inputs = arrays(index, weights, grad_mixed, grad_table)
    # One chunk per thread, as each looks through all mixtures for its rows.
    for_ranges(mixing_kernels.table_gradient, len(table), inputs, chunks_per_thread=1)
    return grad_table.to(table.dtype), grad_weights


@_mix_rows_backward.register_fake
def _(table, index, weights, grad_mixed):
    return empty_like(table), empty_like(weights)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, grad_mixed):
    grad_table, grad_weights = _mix_rows_backward(*ctx.saved_tensors, grad_mixed)
    return grad_table, None, grad_weights


mix_rows.register_autograd(_backward, setup_context=_save)


def _check_rows(index: Tensor, count: int) -> None:
    """Refuse rows that are not there: kernels read whatever memory they are told to."""
    last = int(index.max()) if index.numel() else -1
    if last >= count:
        raise ValueError(
            f"faces must name the {count} rows of what they interpolate, counted from 0, got {last}"
        )
