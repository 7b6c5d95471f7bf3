"""Numba kernel that merges one layer into the layer of those before, where it is hit."""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)


@njit(nogil=True, cache=True, error_model="numpy")
def paint(start, stop, row, layers, merged, rgb, background):
    """Paint objects start..stop, each on image ``row`` of ``rgb`` and into its ``merged`` layers.

    ``layers`` and ``merged``: colour, log-weight and log-transmittance [layer, 1, pixel, ...]. The
    background has a pixel of one colour, or an image, or one for each.
    """
    colour, log_weight, log_transmittance = layers
    merged_colour, merged_weight, merged_transmittance = merged
    for item in range(start, stop):
        image = row[item]
        behind = background[image if len(background) > 1 else 0]
        for pixel in range(log_weight.shape[2]):
            own = log_weight[item, 0, pixel]
            if own == -INFINITY:
                continue
            before = merged_weight[image, 0, pixel]
            nearest = max(own, before)
            mine, others = math.exp(own - nearest), math.exp(before - nearest)
            total = mine + others
            missed = merged_transmittance[image, 0, pixel]
            missed += min(log_transmittance[item, 0, pixel], ZERO)
            merged_weight[image, 0, pixel] = nearest + math.log(total)
            merged_transmittance[image, 0, pixel] = missed
            # expm1 costs as much as six exponentials, so only where it counts
            alpha = ONE - math.exp(missed) if missed < -HALF else -math.expm1(missed)
            beyond = behind[pixel if len(behind) > 1 else 0]
            for channel in range(3):
                mean = mine * colour[item, 0, pixel, channel]
                mean = (mean + others * merged_colour[image, 0, pixel, channel]) / total
                merged_colour[image, 0, pixel, channel] = mean
                rgb[image, pixel, channel] = mean * alpha + beyond[channel] * (ONE - alpha)
