"""Numba kernels that mix the rows of a table; see ``layer_kernels`` for their common rules.

An item is a mixture or, where gradients are summed over mixtures, a row of the table: every sum
belongs to one call and is in the order of the mixtures, however many threads there are.
"""

import numpy as np
from numba import njit

ZERO = np.float32(0.0)


@njit(nogil=True, cache=True)
def mix_rows(start, stop, table, index, weights, mixed):
    """Fill the mixtures start..stop."""
    for m in range(start, stop):
        mixed[m] = ZERO
        for part in range(index.shape[1]):
            row, weight = index[m, part], weights[m, part]
            for channel in range(table.shape[1] if row >= 0 else 0):
                mixed[m, channel] += weight * table[row, channel]


@njit(nogil=True, cache=True)
def weight_gradient(start, stop, table, index, grad_mixed, grad_weights):
    """Fill the gradients of the weights of the mixtures start..stop."""
    for m in range(start, stop):
        for part in range(index.shape[1]):
            row, total = index[m, part], ZERO
            for channel in range(table.shape[1] if row >= 0 else 0):
                total += table[row, channel] * grad_mixed[m, channel]
            grad_weights[m, part] = total


@njit(nogil=True, cache=True)
def table_gradient(start, stop, index, weights, grad_mixed, grad_table):
    """Fill the gradients of the rows start..stop, which are float64 whatever the rest is."""
    grad_table[start:stop] = 0.0
    for m in range(len(index)):
        for part in range(index.shape[1]):
            row = index[m, part]
            if start <= row < stop:
                for channel in range(grad_mixed.shape[1]):
                    grad_table[row, channel] += weights[m, part] * grad_mixed[m, channel]
