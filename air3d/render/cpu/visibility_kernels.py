"""Numba kernels that say which part of a pixel each layer shows; see ``layer_kernels``."""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)
# A layer whose weight is exp(-50) of what lies in front adds nothing, in float64 either.
HIDDEN = np.float32(-50.0)


@njit(nogil=True, cache=True)
def _shares(log_weight, log_transmittance, scene, pixel, slots, shares):
    """Fill the slots' shares of the weights at a pixel; return the pixel's opacity."""
    largest, missed, hit = -INFINITY, ZERO, False
    for slot in range(len(slots)):
        if slots[slot] >= 0 and log_weight[scene, slots[slot], pixel] != -INFINITY:
            hit = True
            largest = max(largest, log_weight[scene, slots[slot], pixel])
            missed += min(log_transmittance[scene, slots[slot], pixel], ZERO)
    shares[:] = ZERO
    if not hit:
        return ZERO
    total = ZERO
    for slot in range(len(slots)):
        # Said so that a log-weight that is NaN makes all shares NaN.
        if slots[slot] >= 0 and not log_weight[scene, slots[slot], pixel] - largest <= HIDDEN:
            shares[slot] = math.exp(log_weight[scene, slots[slot], pixel] - largest)
            total += shares[slot]
    for slot in range(len(slots)):
        shares[slot] /= total
    return -math.expm1(missed)


@njit(nogil=True, cache=True)
def visibility(start, stop, log_weight, log_transmittance, selection, visible):
    """Fill scenes start..stop of what is visible, [scene, image, slot, pixel]."""
    shares = np.zeros(selection.shape[1], log_weight.dtype)
    for scene in range(start, stop):
        for image in range(len(selection)):
            slots = selection[image]
            for pixel in range(log_weight.shape[2]):
                opacity = _shares(log_weight, log_transmittance, scene, pixel, slots, shares)
                for slot in range(len(slots)):
                    visible[scene, image, slot, pixel] = opacity * shares[slot]


@njit(nogil=True, cache=True)
def visibility_backward(
    start, stop, log_weight, log_transmittance, selection, upstream,
    grad_log_weight, grad_log_transmittance,
):  # fmt: skip
    """Fill scenes start..stop of the gradients."""
    shares = np.zeros(selection.shape[1], log_weight.dtype)
    for scene in range(start, stop):
        grad_log_weight[scene] = ZERO
        grad_log_transmittance[scene] = ZERO
        for image in range(len(selection)):
            slots = selection[image]
            for pixel in range(log_weight.shape[2]):
                opacity = _shares(log_weight, log_transmittance, scene, pixel, slots, shares)
                mean = ZERO
                for slot in range(len(slots)):
                    mean += shares[slot] * upstream[scene, image, slot, pixel]
                for slot in range(len(slots)):
                    layer = slots[slot]
                    if layer < 0 or log_weight[scene, layer, pixel] == -INFINITY:
                        continue
                    gain = upstream[scene, image, slot, pixel] - mean
                    grad_log_weight[scene, layer, pixel] += opacity * shares[slot] * gain
                    if log_transmittance[scene, layer, pixel] <= ZERO:
                        grad_log_transmittance[scene, layer, pixel] -= (ONE - opacity) * mean
