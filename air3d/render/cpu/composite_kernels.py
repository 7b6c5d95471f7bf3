"""Numba kernels that merge layers into images; see ``layer_kernels`` for their common rules.

Scenes are cut into bands of pixels, so that a single large image keeps every thread busy. A band
belongs to one call alone, and what is summed over pixels is summed per band, in float64.

Where few layers are hit, many of the selected images are the same. So each distinct subset of
the layers hit is merged once, in a tree whose root is the empty subset and whose every other node
adds one layer to its parent: prefixes make a chain, hypotheses (n, k_1, ..., k_n) branch. The
tree hangs only on which layers are hit, so it is kept from pixel to pixel until others are.
Weights are relative to the largest of their own subset, as in an online softmax. Gradients run
back from the leaves to the root.

What the kernels are given, beside the range of bands: ``layers``, a tuple of colour, log-weight,
log-transmittance and depth (empty if there is none), each [scene, layer, pixel, ...]; the
background [1 or scene, pixel, 3], as wide as a band where it is one colour; and as ``images`` or
``gradients`` tuples that match. Helpers are inlined, as tuples of arrays are slow to hand on, and
divisions are not checked for zero (no divisor can be).
"""

import math

import numpy as np
from numba import njit

BAND = 4096
"""Pixels in a band."""

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)
INFINITY = np.float32(np.inf)
# A layer whose weight is exp(-50) of what lies in front adds nothing, in float64 either.
HIDDEN = np.float32(-50.0)
# Columns of a tree: a node's parent, the layer it adds, and its children by the layer they add.
PARENT, LAYER, CHILDREN = 0, 1, 2
# Columns of a node's state: the largest log-weight, the sum of weights relative to it, the shares
# of the layer just added and of all others, mean colour and depth, opacity.
NEAREST, WEIGHT, SHARE, REST, RED, GREEN, BLUE, DEPTH, OPACITY, STATE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
# Columns of a node's gradient: by the logarithm of its sum of weights, by its sum of
# log-transmittances, and by its means, where the state has them.
BY_WEIGHT, BY_MISSED = 0, 1


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _band(item, log_weight):
    """Return the scene of a band, its first pixel and the one after its last."""
    pixels = log_weight.shape[2]
    per_scene = (pixels + BAND - 1) // BAND
    first = item % per_scene * BAND
    return item // per_scene, first, min(first + BAND, pixels)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _behind(background, scene, first, log_weight):
    """Return a scene's background, and which of its pixels is the image's pixel 0."""
    own = background[scene if len(background) > 1 else 0]
    return own, 0 if len(own) == log_weight.shape[2] else -first


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _workspace(log_weight, nodes, images):
    """Return what a kernel works in.

    A tree, each image's node, the nodes' states and gradients, the layers' opacities, which layers
    are seen; and of a band's pixels which are hit, and by other layers than the hit before.
    """
    layers, dtype = log_weight.shape[1], log_weight.dtype
    return (
        np.zeros((nodes, CHILDREN + layers), np.int32),
        np.zeros(images, np.int32),
        np.zeros((nodes, STATE), dtype),
        np.zeros((nodes, STATE), dtype),
        np.zeros(layers, dtype),
        np.zeros(layers, np.bool_),
        np.zeros(BAND, np.bool_),
        np.zeros(BAND, np.bool_),
    )


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _find_hits(log_weight, scene, first, last, hit, fresh):
    """Say of each pixel of a band whether any layer is hit, and whether others may be than before.

    Before: at the last pixel with a hit.
    """
    hit[:] = False
    fresh[:] = False
    for layer in range(log_weight.shape[1]):
        weights = log_weight[scene, layer, first:last]
        for pixel in range(last - first):
            hit[pixel] |= weights[pixel] != -INFINITY
        for pixel in range(1, last - first):
            fresh[pixel] |= (weights[pixel] != -INFINITY) != (weights[pixel - 1] != -INFINITY)
    changed = True
    for pixel in range(last - first):
        changed |= fresh[pixel]
        if hit[pixel]:
            fresh[pixel] = changed
            changed = False


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _see(log_weight, scene, pixel, seen):
    """Note which layers are hit at a pixel; return whether that has changed."""
    changed = False
    for layer in range(len(seen)):
        hit = log_weight[scene, layer, pixel] != -INFINITY
        changed |= hit != seen[layer]
        seen[layer] = hit
    return changed


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _plant(selection, seen, tree, node_of):
    """Grow the tree of all selected subsets of the layers seen, and find each image's node.

    Returns the number of nodes; parents come before their children.
    """
    count = 1
    tree[0] = 0
    for image in range(len(selection)):
        node = 0
        for slot in range(selection.shape[1]):
            layer = selection[image, slot]
            if layer < 0 or not seen[layer]:
                continue
            child = tree[node, CHILDREN + layer]
            if child == 0:
                child = count
                count += 1
                tree[child] = 0
                tree[child, PARENT] = node
                tree[child, LAYER] = layer
                tree[node, CHILDREN + layer] = child
            node = child
        node_of[image] = node
    return count


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _covered(missed):
    """1 - exp(missed); expm1 costs as much as six exponentials, so only where it counts."""
    return ONE - math.exp(missed) if missed < -HALF else -math.expm1(missed)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _merge(tree, count, seen, scene, pixel, layers, opacity, states):
    """Fill the states of all nodes but the root at a pixel, each from its parent's.

    ``layers``: colour, log-weight, log-transmittance and depth, which may be empty.
    """
    colour, log_weight, log_transmittance, depth = layers
    for layer in range(len(seen)):
        if seen[layer]:
            missed = min(log_transmittance[scene, layer, pixel], ZERO)
            opacity[layer] = _covered(missed)
    for node in range(1, count):
        parent, layer = tree[node, PARENT], tree[node, LAYER]
        own = log_weight[scene, layer, pixel]
        red, green, blue = (
            colour[scene, layer, pixel, 0],
            colour[scene, layer, pixel, 1],
            colour[scene, layer, pixel, 2],
        )
        if parent == 0:
            share = ONE if own == own else own  # a weight that is NaN makes everything NaN
            states[node, NEAREST], states[node, WEIGHT] = own, ONE
            states[node, SHARE], states[node, REST] = share, ZERO
            states[node, RED], states[node, GREEN] = share * red, share * green
            states[node, BLUE], states[node, OPACITY] = share * blue, opacity[layer]
            if len(depth) > 0:
                states[node, DEPTH] = share * depth[scene, layer, pixel]
            continue
        ahead = own - states[parent, NEAREST]
        ratio = ZERO if -abs(ahead) <= HIDDEN else math.exp(-abs(ahead))
        mine = ONE if ahead > ZERO else ratio
        others = states[parent, WEIGHT] * (ratio if ahead > ZERO else ONE)
        total = mine + others
        share, rest = mine / total, others / total
        states[node, NEAREST] = max(own, states[parent, NEAREST])
        states[node, WEIGHT] = total
        states[node, SHARE], states[node, REST] = share, rest
        states[node, RED] = rest * states[parent, RED] + share * red
        states[node, GREEN] = rest * states[parent, GREEN] + share * green
        states[node, BLUE] = rest * states[parent, BLUE] + share * blue
        if len(depth) > 0:
            states[node, DEPTH] = rest * states[parent, DEPTH] + share * depth[scene, layer, pixel]
        behind = states[parent, OPACITY]
        states[node, OPACITY] = behind + opacity[layer] * (ONE - behind)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _merge_backward(tree, count, scene, pixel, layers, states, upstream, gradients):
    """Add the gradients of all nodes, ``upstream``, to those of the layers at a pixel.

    Changes ``upstream``, as a node's gradient goes to its layer and to its parent.
    """
    colour, _, log_transmittance, depth = layers
    grad_colour, grad_log_weight, grad_log_transmittance, grad_depth = gradients
    for node in range(count - 1, 0, -1):
        parent, layer = tree[node, PARENT], tree[node, LAYER]
        share, rest = states[node, SHARE], states[node, REST]
        red, green, blue = upstream[node, RED], upstream[node, GREEN], upstream[node, BLUE]
        missed = upstream[node, BY_MISSED]
        grad_colour[scene, layer, pixel, 0] += share * red
        grad_colour[scene, layer, pixel, 1] += share * green
        grad_colour[scene, layer, pixel, 2] += share * blue
        if log_transmittance[scene, layer, pixel] <= ZERO:
            grad_log_transmittance[scene, layer, pixel] += missed
        if len(depth) > 0:
            grad_depth[scene, layer, pixel] += share * upstream[node, DEPTH]
        if parent == 0:
            grad_log_weight[scene, layer, pixel] += upstream[node, BY_WEIGHT]
            continue
        by_share = (
            red * (colour[scene, layer, pixel, 0] - states[parent, RED])
            + green * (colour[scene, layer, pixel, 1] - states[parent, GREEN])
            + blue * (colour[scene, layer, pixel, 2] - states[parent, BLUE])
        )
        if len(depth) > 0:
            by_share += upstream[node, DEPTH] * (depth[scene, layer, pixel] - states[parent, DEPTH])
            upstream[parent, DEPTH] += rest * upstream[node, DEPTH]
        by_share *= share * rest
        grad_log_weight[scene, layer, pixel] += share * upstream[node, BY_WEIGHT] + by_share
        upstream[parent, BY_WEIGHT] += rest * upstream[node, BY_WEIGHT] - by_share
        upstream[parent, BY_MISSED] += missed
        upstream[parent, RED] += rest * red
        upstream[parent, GREEN] += rest * green
        upstream[parent, BLUE] += rest * blue


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _clear(scene, first, last, gradients):
    """Set the gradients of a band's layers to zero."""
    grad_colour, grad_log_weight, grad_log_transmittance, grad_depth = gradients
    grad_colour[scene, :, first:last] = ZERO
    grad_log_weight[scene, :, first:last] = ZERO
    grad_log_transmittance[scene, :, first:last] = ZERO
    if len(grad_depth) > 0:
        grad_depth[scene, :, first:last] = ZERO


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _over(states, node, behind, place):
    """A node's colour over the background."""
    covered = states[node, OPACITY]
    clear = ONE - covered
    return (
        covered * states[node, RED] + clear * behind[place, 0],
        covered * states[node, GREEN] + clear * behind[place, 1],
        covered * states[node, BLUE] + clear * behind[place, 2],
    )


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _over_backward(states, upstream, node, behind, place, red, green, blue, alpha):
    """Add the gradient of a node's colour over the background, and of its alpha, to the node's."""
    covered = states[node, OPACITY]
    upstream[node, RED] += covered * red
    upstream[node, GREEN] += covered * green
    upstream[node, BLUE] += covered * blue
    upstream[node, BY_MISSED] -= (ONE - covered) * (
        alpha
        + red * (states[node, RED] - behind[place, 0])
        + green * (states[node, GREEN] - behind[place, 1])
        + blue * (states[node, BLUE] - behind[place, 2])
    )


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _fill(target, source):
    """Copy values from pixel to pixel."""
    to, values = target.reshape(-1), source.reshape(-1)
    for place in range(len(to)):
        to[place] = values[place]


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _add(source, target):
    """Add values from pixel to pixel."""
    values, to = source.reshape(-1), target.reshape(-1)
    for place in range(len(to)):
        to[place] += values[place]


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _difference(states, node, behind, place, pictures, scene, pixel):
    """The squared difference of a node's colour over the background from a picture."""
    red, green, blue = _over(states, node, behind, place)
    red -= pictures[scene, pixel, 0]
    green -= pictures[scene, pixel, 1]
    blue -= pictures[scene, pixel, 2]
    return red * red + green * green + blue * blue


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _difference_backward(
    states, node, behind, place, pictures, scene, pixel, weight,
    upstream, grad_background, grad_pictures,
):  # fmt: skip
    """Add the gradient of ``weight`` times the squared difference to all that it hangs on."""
    red, green, blue = _over(states, node, behind, place)
    red = TWO * weight * (red - pictures[scene, pixel, 0])
    green = TWO * weight * (green - pictures[scene, pixel, 1])
    blue = TWO * weight * (blue - pictures[scene, pixel, 2])
    if len(grad_background) > 0:
        clear = ONE - states[node, OPACITY]
        grad_background[scene, pixel, 0] += clear * red
        grad_background[scene, pixel, 1] += clear * green
        grad_background[scene, pixel, 2] += clear * blue
    if len(grad_pictures) > 0:
        grad_pictures[scene, pixel, 0] -= red
        grad_pictures[scene, pixel, 1] -= green
        grad_pictures[scene, pixel, 2] -= blue
    _over_backward(states, upstream, node, behind, place, red, green, blue, ZERO)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _share_out(sums, count, node_of, totals):
    """Add each image's node's sum to the image's total, and set the sums to zero."""
    for image in range(len(node_of)):
        totals[image] += sums[node_of[image]]
    sums[:count] = ZERO


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _gather(values, node_of, count, weights):
    """Set each node's weight to the sum of its images' values."""
    weights[:count] = ZERO
    for image in range(len(node_of)):
        weights[node_of[image]] += values[image]


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _plant_all(seen, tree):
    """Grow the tree of all subsets of the layers seen; return the number of nodes.

    A node's bits say which of the layers seen it holds. Without the highest it is its parent.
    """
    count = 1
    for layer in range(len(seen)):
        if seen[layer]:
            for node in range(count):
                tree[count + node, PARENT], tree[count + node, LAYER] = node, layer
            count += count
    return count


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _weigh(seen, presence, chances):
    """Set each node's weight to the chance that just its layers are there, of those seen."""
    count = 1
    chances[0] = ONE
    for layer in range(len(seen)):
        if seen[layer]:
            for node in range(count):
                chances[count + node] = chances[node] * presence[layer]
                chances[node] *= ONE - presence[layer]
            count += count


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def _weigh_backward(tree, count, presence, liking, grad_presence):
    """Add to the presences' gradients what each changes in the expected liking, and clear that.

    From the last layer seen to the first: the chance of a node of those before, times what the
    layer adds to it; then the layer is summed out.
    """
    half = count // 2
    while half > 0:
        layer = tree[half, LAYER]
        for node in range(half):
            gain = liking[half + node] - liking[node]
            chance, bit = 1.0, half // 2
            while bit > 0:
                there = presence[tree[bit, LAYER]]
                chance *= there if node & bit else ONE - there
                bit //= 2
            grad_presence[layer] += chance * gain
            liking[node] += presence[layer] * gain
        half //= 2
    liking[:count] = ZERO


@njit(nogil=True, cache=True, error_model="numpy")
def composite(start, stop, layers, background, selection, images):
    """Fill bands start..stop of the ``images``: rgb, alpha, and depth, empty if the layers' is."""
    log_weight, (rgb, alpha, mean_depth) = layers[1], images
    tree, node_of, states, upstream, opacity, seen, hit, fresh = _workspace(
        log_weight, 1 + selection.size, len(selection)
    )
    count = 1
    for item in range(start, stop):
        scene, first, last = _band(item, log_weight)
        behind, shift = _behind(background, scene, first, log_weight)
        for image in range(len(selection)):
            _fill(rgb[scene, image, first:last], behind[first + shift : last + shift])
            alpha[scene, image, first:last] = ZERO
            if len(mean_depth) > 0:
                mean_depth[scene, image, first:last] = ZERO
        _find_hits(log_weight, scene, first, last, hit, fresh)
        for pixel in range(first, last):
            if not hit[pixel - first]:
                continue
            if fresh[pixel - first] and _see(log_weight, scene, pixel, seen):
                count = _plant(selection, seen, tree, node_of)
            _merge(tree, count, seen, scene, pixel, layers, opacity, states)
            for image in range(len(selection)):
                node = node_of[image]
                red, green, blue = _over(states, node, behind, pixel + shift)
                rgb[scene, image, pixel, 0] = red
                rgb[scene, image, pixel, 1] = green
                rgb[scene, image, pixel, 2] = blue
                alpha[scene, image, pixel] = states[node, OPACITY]
                if len(mean_depth) > 0:
                    mean_depth[scene, image, pixel] = states[node, DEPTH]


@njit(nogil=True, cache=True, error_model="numpy")
def composite_backward(
    start, stop, layers, background, selection, upstream_images, gradients, grad_background
):
    """Fill bands start..stop of the gradients of layers and background.

    That of the background is [scene, pixel, 3], or empty if nobody asks for it.
    """
    log_weight, (grad_rgb, grad_alpha, grad_mean_depth) = layers[1], upstream_images
    tree, node_of, states, upstream, opacity, seen, hit, fresh = _workspace(
        log_weight, 1 + selection.size, len(selection)
    )
    count = 1
    for item in range(start, stop):
        scene, first, last = _band(item, log_weight)
        behind, shift = _behind(background, scene, first, log_weight)
        _clear(scene, first, last, gradients)
        if len(grad_background) > 0:
            grad_background[scene, first:last] = ZERO
            for image in range(len(selection)):
                _add(grad_rgb[scene, image, first:last], grad_background[scene, first:last])
        _find_hits(log_weight, scene, first, last, hit, fresh)
        for pixel in range(first, last):
            if not hit[pixel - first]:
                continue
            if fresh[pixel - first] and _see(log_weight, scene, pixel, seen):
                count = _plant(selection, seen, tree, node_of)
            _merge(tree, count, seen, scene, pixel, layers, opacity, states)
            upstream[:count] = ZERO
            through_red, through_green, through_blue = ZERO, ZERO, ZERO
            for image in range(len(selection)):
                node = node_of[image]
                red = grad_rgb[scene, image, pixel, 0]
                green = grad_rgb[scene, image, pixel, 1]
                blue = grad_rgb[scene, image, pixel, 2]
                clear = ONE - states[node, OPACITY]
                through_red += clear * red
                through_green += clear * green
                through_blue += clear * blue
                by_alpha = grad_alpha[scene, image, pixel]
                _over_backward(
                    states, upstream, node, behind, pixel + shift, red, green, blue, by_alpha
                )
                if len(grad_mean_depth) > 0:
                    upstream[node, DEPTH] += grad_mean_depth[scene, image, pixel]
            if len(grad_background) > 0:
                grad_background[scene, pixel, 0] = through_red
                grad_background[scene, pixel, 1] = through_green
                grad_background[scene, pixel, 2] = through_blue
            _merge_backward(tree, count, scene, pixel, layers, states, upstream, gradients)


@njit(nogil=True, cache=True, error_model="numpy")
def squared_error(start, stop, layers, background, selection, pictures, errors):
    """Fill rows start..stop of ``errors`` [band, image], which are float64.

    The squared differences from ``pictures`` [scene, pixel, 3] of a node's image are summed as
    long as the tree stands, and only then shared out to the images.
    """
    log_weight = layers[1]
    tree, node_of, states, upstream, opacity, seen, hit, fresh = _workspace(
        log_weight, 1 + selection.size, len(selection)
    )
    sums = np.zeros(1 + selection.size)
    count = 1
    for item in range(start, stop):
        scene, first, last = _band(item, log_weight)
        behind, shift = _behind(background, scene, first, log_weight)
        _find_hits(log_weight, scene, first, last, hit, fresh)
        errors[item] = ZERO
        nothing = 0.0
        for pixel in range(first, last):
            if not hit[pixel - first]:
                nothing += _difference(states, 0, behind, pixel + shift, pictures, scene, pixel)
                continue
            if fresh[pixel - first] and _see(log_weight, scene, pixel, seen):
                _share_out(sums, count, node_of, errors[item])
                count = _plant(selection, seen, tree, node_of)
            _merge(tree, count, seen, scene, pixel, layers, opacity, states)
            for node in range(count):
                sums[node] += _difference(
                    states, node, behind, pixel + shift, pictures, scene, pixel
                )
        _share_out(sums, count, node_of, errors[item])
        errors[item] += nothing


@njit(nogil=True, cache=True, error_model="numpy")
def squared_error_backward(
    start, stop, layers, background, selection, pictures, upstream_errors,
    gradients, grad_background, grad_pictures,
):  # fmt: skip
    """Fill bands start..stop of the gradients; those that nobody asks for are empty."""
    log_weight = layers[1]
    tree, node_of, states, upstream, opacity, seen, hit, fresh = _workspace(
        log_weight, 1 + selection.size, len(selection)
    )
    weights = np.zeros(1 + selection.size, log_weight.dtype)
    wants_all = len(grad_background) > 0 or len(grad_pictures) > 0
    count = 1
    for item in range(start, stop):
        scene, first, last = _band(item, log_weight)
        behind, shift = _behind(background, scene, first, log_weight)
        _clear(scene, first, last, gradients)
        if len(grad_background) > 0:
            grad_background[scene, first:last] = ZERO
        if len(grad_pictures) > 0:
            grad_pictures[scene, first:last] = ZERO
        total = upstream_errors[scene].sum()
        _find_hits(log_weight, scene, first, last, hit, fresh)
        _gather(upstream_errors[scene], node_of, count, weights)
        for pixel in range(first, last):
            if not hit[pixel - first]:
                if wants_all:
                    _difference_backward(
                        states, 0, behind, pixel + shift, pictures, scene, pixel, total,
                        upstream, grad_background, grad_pictures,
                    )  # fmt: skip
                continue
            if fresh[pixel - first] and _see(log_weight, scene, pixel, seen):
                count = _plant(selection, seen, tree, node_of)
                _gather(upstream_errors[scene], node_of, count, weights)
            _merge(tree, count, seen, scene, pixel, layers, opacity, states)
            upstream[:count] = ZERO
            for node in range(count):
                if weights[node] == ZERO:
                    continue
                _difference_backward(
                    states, node, behind, pixel + shift, pictures, scene, pixel, weights[node],
                    upstream, grad_background, grad_pictures,
                )  # fmt: skip
            _merge_backward(tree, count, scene, pixel, layers, states, upstream, gradients)


@njit(nogil=True, cache=True, error_model="numpy")
def expected(start, stop, layers, background, presence, images):
    """Fill bands start..stop of the expected ``images``: rgb, alpha, depth, one per scene.

    Here the tree holds every subset of the layers hit; its nodes are weighted by the chance that
    just those layers are there.
    """
    log_weight, (rgb, alpha, mean_depth) = layers[1], images
    most = 1 << log_weight.shape[1]
    tree, _, states, upstream, opacity, seen, hit, fresh = _workspace(log_weight, most, 0)
    chances = np.zeros(most, log_weight.dtype)
    count = 1
    for item in range(start, stop):
        scene, first, last = _band(item, log_weight)
        behind, shift = _behind(background, scene, first, log_weight)
        _fill(rgb[scene, first:last], behind[first + shift : last + shift])
        alpha[scene, first:last] = ZERO
        if len(mean_depth) > 0:
            mean_depth[scene, first:last] = ZERO
        _find_hits(log_weight, scene, first, last, hit, fresh)
        _weigh(seen, presence[scene], chances)
        for pixel in range(first, last):
            if not hit[pixel - first]:
                continue
            if fresh[pixel - first] and _see(log_weight, scene, pixel, seen):
                count = _plant_all(seen, tree)
                _weigh(seen, presence[scene], chances)
            _merge(tree, count, seen, scene, pixel, layers, opacity, states)
            covered, red, green, blue, mean = ZERO, ZERO, ZERO, ZERO, ZERO
            for node in range(1, count):
                weight = chances[node] * states[node, OPACITY]
                covered += weight
                red += weight * states[node, RED]
                green += weight * states[node, GREEN]
                blue += weight * states[node, BLUE]
                mean += chances[node] * states[node, DEPTH]
            clear = ONE - covered
            rgb[scene, pixel, 0] = red + clear * behind[pixel + shift, 0]
            rgb[scene, pixel, 1] = green + clear * behind[pixel + shift, 1]
            rgb[scene, pixel, 2] = blue + clear * behind[pixel + shift, 2]
            alpha[scene, pixel] = covered
            if len(mean_depth) > 0:
                mean_depth[scene, pixel] = mean


@njit(nogil=True, cache=True, error_model="numpy")
def expected_backward(
    start, stop, layers, background, presence, upstream_images,
    gradients, grad_background, grad_presence,
):  # fmt: skip
    """Fill bands start..stop of the gradients; that of the presence, float64, is a row per band.

    That of the background is [scene, pixel, 3], or empty if nobody asks for it.
    """
    log_weight, (grad_rgb, grad_alpha, grad_mean_depth) = layers[1], upstream_images
    most = 1 << log_weight.shape[1]
    tree, _, states, upstream, opacity, seen, hit, fresh = _workspace(log_weight, most, 0)
    chances = np.zeros(most, log_weight.dtype)
    # How much the upstream gradient likes each node, summed over pixels.
    liking = np.zeros(most)
    count = 1
    for item in range(start, stop):
        scene, first, last = _band(item, log_weight)
        behind, shift = _behind(background, scene, first, log_weight)
        _clear(scene, first, last, gradients)
        grad_presence[item] = ZERO
        if len(grad_background) > 0:
            grad_background[scene, first:last] = ZERO
            _add(grad_rgb[scene, first:last], grad_background[scene, first:last])
        _find_hits(log_weight, scene, first, last, hit, fresh)
        _weigh(seen, presence[scene], chances)
        for pixel in range(first, last):
            if not hit[pixel - first]:
                continue
            if fresh[pixel - first] and _see(log_weight, scene, pixel, seen):
                _weigh_backward(tree, count, presence[scene], liking, grad_presence[item])
                count = _plant_all(seen, tree)
                _weigh(seen, presence[scene], chances)
            _merge(tree, count, seen, scene, pixel, layers, opacity, states)
            upstream[:count] = ZERO
            red = grad_rgb[scene, pixel, 0]
            green = grad_rgb[scene, pixel, 1]
            blue = grad_rgb[scene, pixel, 2]
            by_alpha = grad_alpha[scene, pixel]
            by_depth = grad_mean_depth[scene, pixel] if len(grad_mean_depth) > 0 else ZERO
            covered = ZERO
            for node in range(1, count):
                chance = chances[node]
                covered += chance * states[node, OPACITY]
                liking[node] += by_depth * states[node, DEPTH] + states[node, OPACITY] * (
                    by_alpha
                    + red * (states[node, RED] - behind[pixel + shift, 0])
                    + green * (states[node, GREEN] - behind[pixel + shift, 1])
                    + blue * (states[node, BLUE] - behind[pixel + shift, 2])
                )
                upstream[node, DEPTH] += chance * by_depth
                _over_backward(
                    states, upstream, node, behind, pixel + shift,
                    chance * red, chance * green, chance * blue, chance * by_alpha,
                )  # fmt: skip
            if len(grad_background) > 0:
                grad_background[scene, pixel, 0] = (ONE - covered) * red
                grad_background[scene, pixel, 1] = (ONE - covered) * green
                grad_background[scene, pixel, 2] = (ONE - covered) * blue
            _merge_backward(tree, count, scene, pixel, layers, states, upstream, gradients)
        _weigh_backward(tree, count, presence[scene], liking, grad_presence[item])


@njit(nogil=True, cache=True, error_model="numpy")
def sum_bands(start, stop, gradient, sums):
    """Fill rows start..stop of ``sums`` [band, 3], float64, from a background's gradient."""
    per_scene = (gradient.shape[1] + BAND - 1) // BAND
    for item in range(start, stop):
        scene, first = item // per_scene, item % per_scene * BAND
        red, green, blue = 0.0, 0.0, 0.0
        for pixel in range(first, min(first + BAND, gradient.shape[1])):
            red += gradient[scene, pixel, 0]
            green += gradient[scene, pixel, 1]
            blue += gradient[scene, pixel, 2]
        sums[item, 0], sums[item, 1], sums[item, 2] = red, green, blue
