"""Triton kernels that merge layers into images; the package's docstring says how.

Maps are [scene, layer, pixel, ...] and images [scene, pixel, 3]. The background is read at
``scene * scene_step + pixel * pixel_step``: one colour has two steps of 0. What is summed over
images is summed by one program, in their order; what is summed over pixels in float64, by block.
"""

import triton
import triton.language as tl

from air3d.render.cuda.face_kernels import triple


@triton.jit
def weight_of(log_weight, log_transmittance, at, there):
    """Return a layer's log-weight, whether it is hit, and how much light it lets through, as log.

    NaN is a hit.
    """
    own = tl.load(log_weight + at, mask=there, other=float("-inf"))
    missed = tl.load(log_transmittance + at, mask=there, other=0.0)
    return own, own != float("-inf"), missed


@triton.jit
def merge(
    colour, log_weight, log_transmittance, depth, scene, pixel, inside, slots_of, slots, layers,
    pixels, WITH_DEPTH: tl.constexpr,
):  # fmt: skip
    """Return an image's nearest log-weight and sum of weights relative to it, and what it shows.

    That is the light let through, as log, the mean colour, and the mean depth. Weights sum to 1
    where nothing is hit, or if any is NaN to that.
    """
    dtype: tl.constexpr = log_weight.dtype.element_ty
    nearest = tl.full(pixel.shape, float("-inf"), dtype)
    for slot in range(0, slots):
        layer = tl.load(slots_of + slot)
        there = inside & (layer >= 0) & (layer < layers)
        own, _, _ = weight_of(
            log_weight, log_transmittance, (scene * layers + layer) * pixels + pixel, there
        )
        nearest = tl.maximum(nearest, own)
    total, missed = tl.zeros(pixel.shape, dtype), tl.zeros(pixel.shape, dtype)
    red, green, blue = total, total, total
    mean = total
    for slot in range(0, slots):
        layer = tl.load(slots_of + slot)
        there = inside & (layer >= 0) & (layer < layers)
        at = (scene * layers + layer) * pixels + pixel
        own, hit, through = weight_of(log_weight, log_transmittance, at, there)
        weight = tl.where(hit, tl.exp(own - tl.where(hit, nearest, 0.0)), 0.0)
        own_red, own_green, own_blue = triple(colour, at, there)
        total += weight
        missed += tl.where(hit, tl.minimum(through, 0.0), 0.0)
        red, green, blue = (
            red + weight * own_red,
            green + weight * own_green,
            blue + weight * own_blue,
        )
        if WITH_DEPTH:
            mean += weight * tl.load(depth + at, mask=there, other=0.0)
    total = tl.where(total == 0.0, 1.0, total)
    return nearest, total, missed, red / total, green / total, blue / total, mean / total


@triton.jit
def covered_by(missed):
    """Return 1 - exp(missed), to the last digits near 0 too."""
    # Triton has no expm1. Near 0 a series, up to its 16th term, which is enough for float64.
    near = tl.maximum(missed, -0.5)
    series = tl.full(missed.shape, 1.0, missed.dtype)
    for term in tl.static_range(15):
        series = 1.0 + series * near * (1.0 / (16 - term))
    return tl.where(missed > -0.5, -near * series, 1.0 - tl.exp(missed))


@triton.jit
def place_of(images, pixels, PIXELS: tl.constexpr):
    """Return a program's scene and image, and its pixels: ``(scene, image, block)`` in one."""
    blocks = (pixels + PIXELS - 1) // PIXELS
    block, rest = tl.program_id(0) % blocks, tl.program_id(0) // blocks
    pixel = block * PIXELS + tl.arange(0, PIXELS)
    return (rest // images).to(tl.int64), rest % images, block, pixel, pixel < pixels


@triton.jit
def over(alpha, red, green, blue, background, at, inside):
    """Return colours over the background, and that."""
    back_red = tl.load(background + at, mask=inside, other=0.0)
    back_green = tl.load(background + at + 1, mask=inside, other=0.0)
    back_blue = tl.load(background + at + 2, mask=inside, other=0.0)
    clear = 1.0 - alpha
    return (
        red * alpha + back_red * clear, green * alpha + back_green * clear,
        blue * alpha + back_blue * clear, back_red, back_green, back_blue,
    )  # fmt: skip


@triton.jit
def composite(
    colour, log_weight, log_transmittance, depth, background, selection,
    rgb, alpha, mean_depth,
    images, slots, layers, pixels, scene_step, pixel_step,
    WITH_DEPTH: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Fill a block of pixels of an image of a scene."""
    scene, image, _, pixel, inside = place_of(images, pixels, PIXELS)
    _, _, missed, red, green, blue, mean = merge(
        colour, log_weight, log_transmittance, depth, scene, pixel, inside,
        selection + image * slots, slots, layers, pixels, WITH_DEPTH,
    )  # fmt: skip
    covered = covered_by(missed)
    behind = scene * scene_step + pixel * pixel_step
    red, green, blue, _, _, _ = over(covered, red, green, blue, background, behind, inside)
    at = (scene * images + image) * pixels + pixel
    tl.store(rgb + at * 3, red, mask=inside)
    tl.store(rgb + at * 3 + 1, green, mask=inside)
    tl.store(rgb + at * 3 + 2, blue, mask=inside)
    tl.store(alpha + at, covered, mask=inside)
    if WITH_DEPTH:
        tl.store(mean_depth + at, mean, mask=inside)


@triton.jit
def squared_error(
    colour, log_weight, log_transmittance, background, selection, pictures, errors,
    images, slots, layers, pixels, scene_step, pixel_step, PIXELS: tl.constexpr,
):  # fmt: skip
    """Fill the squared differences [scene, image, block], float64, of an image from a picture."""
    scene, image, block, pixel, inside = place_of(images, pixels, PIXELS)
    _, _, missed, red, green, blue, _ = merge(
        colour, log_weight, log_transmittance, colour, scene, pixel, inside,
        selection + image * slots, slots, layers, pixels, False,
    )  # fmt: skip
    behind = scene * scene_step + pixel * pixel_step
    red, green, blue, _, _, _ = over(
        covered_by(missed), red, green, blue, background, behind, inside
    )
    true_red, true_green, true_blue = triple(pictures, scene * pixels + pixel, inside)
    red, green, blue = red - true_red, green - true_green, blue - true_blue
    squares = tl.where(inside, red * red + green * green + blue * blue, 0.0)
    blocks = (pixels + PIXELS - 1) // PIXELS
    at = (scene * images + image) * blocks + block
    tl.store(errors + at, tl.sum(squares.to(tl.float64), axis=0))
