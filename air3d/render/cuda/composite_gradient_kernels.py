"""Triton kernels that take the gradients of merged images back; see ``composite_kernels``.

What comes from above is the gradient of the images, or, where pictures are given, of the squared
differences from them: then the images' is made on the way, and stored nowhere.
"""

import triton
import triton.language as tl

from air3d.render.cuda.composite_kernels import (
    covered_by,
    merge,
    over,
    place_of,
    weight_of,
)
from air3d.render.cuda.face_kernels import triple


@triton.jit
def image_gradient(
    scene, image, pixel, inside, covered, red, green, blue, background, behind, pictures,
    grad_rgb, grad_errors, images, pixels, SQUARED: tl.constexpr,
):  # fmt: skip
    """Return the gradient of an image's colours, and the background."""
    red, green, blue, back_red, back_green, back_blue = over(
        covered, red, green, blue, background, behind, inside
    )
    if SQUARED:
        true_red, true_green, true_blue = triple(pictures, scene * pixels + pixel, inside)
        weight = 2.0 * tl.load(grad_errors + scene * images + image)
        up_red, up_green = weight * (red - true_red), weight * (green - true_green)
        up_blue = weight * (blue - true_blue)
    else:
        at = (scene * images + image) * pixels + pixel
        up_red, up_green, up_blue = triple(grad_rgb, at, inside)
    return up_red, up_green, up_blue, back_red, back_green, back_blue


@triton.jit
def merge_backward(
    colour, log_weight, log_transmittance, depth, background, selection, pictures,
    grad_rgb, grad_alpha, grad_mean_depth, grad_errors,
    grad_colour, grad_log_weight, grad_log_transmittance, grad_depth,
    images, slots, layers, pixels, scene_step, pixel_step,
    SQUARED: tl.constexpr, WITH_DEPTH: tl.constexpr, SLOTS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Fill the gradients of a block of pixels of a layer, summed over the images that it is in.

    Program ``(scene, layer, block)`` in one. SLOTS is a power of 2, no less than the slots.
    """
    scene, layer, _, pixel, inside = place_of(layers, pixels, PIXELS)
    own_at = (scene * layers + layer) * pixels + pixel
    own, hit, through = weight_of(log_weight, log_transmittance, own_at, inside)
    own_red, own_green, own_blue = triple(colour, own_at, inside)
    zero = tl.zeros((PIXELS,), own.dtype)
    by_red, by_green, by_blue, by_weight, by_missed, by_depth = zero, zero, zero, zero, zero, zero
    if WITH_DEPTH:
        own_depth = tl.load(depth + own_at, mask=inside, other=0.0)
    slot = tl.arange(0, SLOTS)
    behind = scene * scene_step + pixel * pixel_step
    for image in range(0, images):
        chosen = tl.load(selection + image * slots + slot, mask=slot < slots, other=-1)
        times = tl.sum((chosen == layer).to(tl.int32), axis=0)
        if times > 0:
            nearest, total, missed, red, green, blue, mean = merge(
                colour, log_weight, log_transmittance, depth, scene, pixel, inside,
                selection + image * slots, slots, layers, pixels, WITH_DEPTH,
            )  # fmt: skip
            covered = covered_by(missed)
            up_red, up_green, up_blue, back_red, back_green, back_blue = image_gradient(
                scene, image, pixel, inside, covered, red, green, blue, background, behind,
                pictures, grad_rgb, grad_errors, images, pixels, SQUARED,
            )  # fmt: skip
            # A layer that is in an image twice counts twice.
            share = tl.where(hit, tl.exp(own - tl.where(hit, nearest, 0.0)) / total, 0.0)
            share *= times.to(own.dtype)
            up_share = covered * (
                up_red * (own_red - red) + up_green * (own_green - green)
                + up_blue * (own_blue - blue)
            )  # fmt: skip
            up_clear = (
                up_red * (red - back_red) + up_green * (green - back_green)
                + up_blue * (blue - back_blue)
            )  # fmt: skip
            if not SQUARED:
                at = (scene * images + image) * pixels + pixel
                up_clear += tl.load(grad_alpha + at, mask=inside, other=0.0)
                if WITH_DEPTH:
                    up_depth = tl.load(grad_mean_depth + at, mask=inside, other=0.0)
                    up_share += up_depth * (own_depth - mean)
                    by_depth += share * up_depth
            by_red += share * covered * up_red
            by_green += share * covered * up_green
            by_blue += share * covered * up_blue
            by_weight += share * up_share
            # Light that passes takes the image's colour away from the background.
            by_missed -= (1.0 - covered) * up_clear * times.to(own.dtype)
    tl.store(grad_colour + own_at * 3, by_red, mask=inside)
    tl.store(grad_colour + own_at * 3 + 1, by_green, mask=inside)
    tl.store(grad_colour + own_at * 3 + 2, by_blue, mask=inside)
    tl.store(grad_log_weight + own_at, by_weight, mask=inside)
    by_missed = tl.where(hit & (through <= 0.0), by_missed, 0.0)
    tl.store(grad_log_transmittance + own_at, by_missed, mask=inside)
    if WITH_DEPTH:
        tl.store(grad_depth + own_at, by_depth, mask=inside)


@triton.jit
def behind_backward(
    colour, log_weight, log_transmittance, background, selection, pictures,
    grad_rgb, grad_errors, grad_background, grad_pictures,
    images, slots, layers, pixels, scene_step, pixel_step,
    SQUARED: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Fill the gradients of a block of a scene's background and, if SQUARED, of its picture.

    Those are summed over the images. Program ``(scene, block)`` in one.
    """
    scene, _first, _block, pixel, inside = place_of(1, pixels, PIXELS)
    zero = tl.zeros((PIXELS,), colour.dtype.element_ty)
    by_red, by_green, by_blue = zero, zero, zero
    true_red, true_green, true_blue = zero, zero, zero
    behind = scene * scene_step + pixel * pixel_step
    for image in range(0, images):
        _, _, missed, red, green, blue, _ = merge(
            colour, log_weight, log_transmittance, colour, scene, pixel, inside,
            selection + image * slots, slots, layers, pixels, False,
        )  # fmt: skip
        covered = covered_by(missed)
        up_red, up_green, up_blue, _, _, _ = image_gradient(
            scene, image, pixel, inside, covered, red, green, blue, background, behind,
            pictures, grad_rgb, grad_errors, images, pixels, SQUARED,
        )  # fmt: skip
        clear = 1.0 - covered
        by_red, by_green = by_red + clear * up_red, by_green + clear * up_green
        by_blue += clear * up_blue
        true_red, true_green = true_red - up_red, true_green - up_green
        true_blue -= up_blue
    at = (scene * pixels + pixel) * 3
    tl.store(grad_background + at, by_red, mask=inside)
    tl.store(grad_background + at + 1, by_green, mask=inside)
    tl.store(grad_background + at + 2, by_blue, mask=inside)
    if SQUARED:
        tl.store(grad_pictures + at, true_red, mask=inside)
        tl.store(grad_pictures + at + 1, true_green, mask=inside)
        tl.store(grad_pictures + at + 2, true_blue, mask=inside)
