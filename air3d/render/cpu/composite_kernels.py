"""Numba kernels that merge layers into images; see ``layer_kernels`` for their common rules.

The gradient of the background is float64, as it sums over every pixel of an image.
"""

import math

import numpy as np
from numba import njit

ZERO = np.float32(0.0)
ONE = np.float32(1.0)
INFINITY = np.float32(np.inf)
# A layer whose weight is exp(-50) of what lies in front adds nothing, in float64 either.
HIDDEN = np.float32(-50.0)


@njit(nogil=True, cache=True)
def _any_hit(log_weight, scene, pixel):
    """Whether any of a scene's layers has something at a pixel."""
    for layer in range(log_weight.shape[1]):
        if log_weight[scene, layer, pixel] > -INFINITY:
            return True
    return False


@njit(nogil=True, cache=True)
def _merge(selection, image, scene, pixel, colour, log_weight, log_transmittance):
    """Merge an image's layers at a pixel.

    Returns the logarithm of their total weight (-inf where there is nothing), the mean colour,
    and the sum of the log-transmittances.
    """
    largest, missed = -INFINITY, ZERO
    for slot in range(selection.shape[1]):
        layer = selection[image, slot]
        if layer >= 0:
            largest = max(largest, log_weight[scene, layer, pixel])
            missed += log_transmittance[scene, layer, pixel]
    if largest == -INFINITY:
        return largest, ZERO, ZERO, ZERO, missed
    total, red, green, blue = ZERO, ZERO, ZERO, ZERO
    for slot in range(selection.shape[1]):
        layer = selection[image, slot]
        if layer >= 0 and log_weight[scene, layer, pixel] - largest > HIDDEN:
            weight = math.exp(log_weight[scene, layer, pixel] - largest)
            total += weight
            red += weight * colour[scene, layer, pixel, 0]
            green += weight * colour[scene, layer, pixel, 1]
            blue += weight * colour[scene, layer, pixel, 2]
    return largest + math.log(total), red / total, green / total, blue / total, missed


@njit(nogil=True, cache=True)
def composite(
    start, stop, selection, background, colour, log_weight, log_transmittance, rgb, alpha
):
    """Fill scenes start..stop with their images; the pixels of all maps are in one dimension."""
    for scene in range(start, stop):
        for pixel in range(log_weight.shape[2]):
            hit = _any_hit(log_weight, scene, pixel)
            for image in range(len(selection)):
                opacity, red, green, blue = ZERO, ZERO, ZERO, ZERO
                if hit:
                    _, red, green, blue, missed = _merge(
                        selection, image, scene, pixel, colour, log_weight, log_transmittance
                    )
                    opacity = -math.expm1(missed)
                clear = ONE - opacity
                alpha[scene, image, pixel] = opacity
                rgb[scene, image, pixel, 0] = opacity * red + clear * background[0]
                rgb[scene, image, pixel, 1] = opacity * green + clear * background[1]
                rgb[scene, image, pixel, 2] = opacity * blue + clear * background[2]


@njit(nogil=True, cache=True)
def composite_backward(
    start, stop, selection, background, colour, log_weight, log_transmittance,
    grad_rgb, grad_alpha,
    grad_colour, grad_log_weight, grad_log_transmittance, grad_background,
):  # fmt: skip
    """Fill scenes start..stop of the gradients; that of the background is one row per scene.

    An empty ``grad_background`` says that nobody asks for it.
    """
    wants_background = len(grad_background) > 0
    for scene in range(start, stop):
        grad_colour[scene] = ZERO
        grad_log_weight[scene] = ZERO
        grad_log_transmittance[scene] = ZERO
        if wants_background:
            grad_background[scene] = ZERO
        for pixel in range(log_weight.shape[2]):
            hit = _any_hit(log_weight, scene, pixel)
            if not (hit or wants_background):
                continue
            for image in range(len(selection)):
                upstream0 = grad_rgb[scene, image, pixel, 0]
                upstream1 = grad_rgb[scene, image, pixel, 1]
                upstream2 = grad_rgb[scene, image, pixel, 2]
                total, red, green, blue, missed = _merge(
                    selection, image, scene, pixel, colour, log_weight, log_transmittance
                )
                opacity = -math.expm1(missed)
                clear = ONE - opacity
                if wants_background:
                    grad_background[scene, 0] += clear * upstream0
                    grad_background[scene, 1] += clear * upstream1
                    grad_background[scene, 2] += clear * upstream2
                if total == -INFINITY:
                    continue
                grad_missed = -clear * (
                    grad_alpha[scene, image, pixel]
                    + upstream0 * (red - background[0])
                    + upstream1 * (green - background[1])
                    + upstream2 * (blue - background[2])
                )
                for slot in range(selection.shape[1]):
                    layer = selection[image, slot]
                    if layer < 0 or log_weight[scene, layer, pixel] == -INFINITY:
                        continue
                    grad_log_transmittance[scene, layer, pixel] += grad_missed
                    if log_weight[scene, layer, pixel] - total < HIDDEN:
                        continue
                    share = opacity * math.exp(log_weight[scene, layer, pixel] - total)
                    grad_colour[scene, layer, pixel, 0] += share * upstream0
                    grad_colour[scene, layer, pixel, 1] += share * upstream1
                    grad_colour[scene, layer, pixel, 2] += share * upstream2
                    grad_log_weight[scene, layer, pixel] += share * (
                        upstream0 * (colour[scene, layer, pixel, 0] - red)
                        + upstream1 * (colour[scene, layer, pixel, 1] - green)
                        + upstream2 * (colour[scene, layer, pixel, 2] - blue)
                    )
