"""Merge layers into images: exact, order-independent, for any number of subsets at once."""

from types import ModuleType

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render import reference_composite
from air3d.render.backends import fast_backend
from air3d.render.checks import check_background, check_images, check_kind, check_layers
from air3d.render.images import Background
from air3d.render.layers import Composite, Layers

MAX_RELAXED = 10
"""Layers that :func:`expected_composite` takes: it may look at every subset of them."""


def prefix_selection(num_objects: int) -> Int[Tensor, "image object"]:
    """Return the selection of all prefixes: row n (of N + 1) holds layers 0..n-1, then -1."""
    layer = torch.arange(num_objects)
    count = torch.arange(num_objects + 1)[:, None]
    return torch.where(layer < count, layer, -1)


def join(layers: list[Layers]) -> Layers:
    """Put layers of the same scenes and image size side by side, along the objects.

    Depth is kept where all of them have it. Gradients go back to each.
    """
    depths = [part.depth for part in layers if part.depth is not None]
    return Layers(
        colour=torch.cat([part.colour for part in layers], dim=1),
        log_weight=torch.cat([part.log_weight for part in layers], dim=1),
        log_transmittance=torch.cat([part.log_transmittance for part in layers], dim=1),
        depth=torch.cat(depths, dim=1) if len(depths) == len(layers) else None,
    )


def composite(
    layers: Layers,
    selection: Int[Tensor, "image slot"],
    background: Background,
    *,
    backend: str = "auto",
) -> Composite:
    """Merge layers ``selection[p]`` (-1: none) of every scene into image p of that scene.

    Colours and depths are weighted by exp(log_weight), transmittances multiply, and the image is
    rgb * alpha + background * (1 - alpha), which carries the silhouette's gradient where
    PyTorch3D's softmax blending carries almost none. Merging layers gives what rasterising all
    of their faces together gives. A layer without weight at a pixel (-inf) is not there, and one
    that would let more than all light through (log_transmittance above 0) lets all through.

    The background is one colour, or an image behind each scene. Gradients reach all of
    ``layers`` and ``background``. The backend is ``cpu`` (Numba), ``cuda`` (Triton),
    ``reference`` (plain torch), or ``auto``: that of the layers' device, ``reference`` where it
    has none; so it is for all verbs here.

    Raises:
        ValueError: ``selection`` names a layer that is not there (on a GPU it is looked at only
            if it is on the CPU itself), or the layers' maps or the background do not go together,
            or no backend fits.
    """
    check_layers(layers, selection)
    check_background(background, layers)
    return choose(backend, layers).composite(layers, selection, background)


def squared_error(
    layers: Layers,
    selection: Int[Tensor, "image slot"],
    background: Background,
    images: Float[Tensor, "batch height width 3"],
    *,
    backend: str = "auto",
) -> Float[Tensor, "batch image"]:
    """Sum the squared differences of every composited image from its scene's given one.

    What ``(composite(...).rgb - images[:, None])**2`` gives, summed over pixels and channels, but
    no composited image is stored, nor its gradient. Sums are made in float64 and rounded to the
    layers' precision at the end. Gradients reach ``layers``, ``background`` and ``images``.

    Raises:
        ValueError: as :func:`composite`, or the images do not go with the layers.
    """
    check_layers(layers, selection)
    check_background(background, layers)
    check_images(images, "images", layers, (len(layers.log_weight),))
    return choose(backend, layers).squared_error(layers, selection, background, images)


def visibility(
    layers: Layers, selection: Int[Tensor, "image slot"], *, backend: str = "auto"
) -> Float[Tensor, "batch image slot height width"]:
    """Return which part of every pixel shows each slot's layer.

    That is the image's alpha times the layer's share of the weights: nothing for an empty slot,
    and the slots sum to alpha. Gradients reach log-weights and log-transmittances.

    Raises:
        ValueError: as :func:`composite`.
    """
    check_layers(layers, selection)
    return choose(backend, layers).visibility(layers, selection)


def expected_composite(
    layers: Layers,
    presence: Float[Tensor, "batch object"],
    background: Background,
    *,
    backend: str = "auto",
) -> Composite:
    """Return the mean image where each layer is there with a probability, independently.

    With presence p this is sum_S prod_{i in S} p_i prod_{i not in S} (1 - p_i) composite(S): the
    multilinear function of p that at zeros and ones is the image of that subset. So the gradient
    of p_i is E[image | i there] - E[image | i not there]. A relaxed z_pres belongs here and not in
    the opacities: those gate alpha alone, since the front layer takes all of the weights whatever
    its opacity. Depth is averaged likewise, subsets without a hit counting 0.

    Gradients reach all of ``layers``, ``presence`` and ``background``.

    At each pixel only subsets of the layers hit there are merged, of which there are few.
    Compositing every subset and averaging took 3 times as long with 3 objects a scene and 30
    times as long with 6.

    Raises:
        ValueError: there are more than ``MAX_RELAXED`` layers, presence is not one number per
            layer, or as :func:`composite`.
    """
    check_layers(layers)
    check_background(background, layers)
    if presence.shape != layers.log_weight.shape[:2]:
        raise ValueError(
            f"expected_composite: presence must be {list(layers.log_weight.shape[:2])}, one per "
            f"layer, got {list(presence.shape)}"
        )
    if presence.shape[1] > MAX_RELAXED:
        raise ValueError(
            f"expected_composite: at most {MAX_RELAXED} layers can be relaxed, as every subset of "
            f"those that meet at a pixel is merged, got {presence.shape[1]}; composite samples of "
            "the presence instead"
        )
    check_kind("expected_composite", "layers.colour", layers.colour, presence=presence)
    return choose(backend, layers).expected_composite(layers, presence, background)


def choose(backend: str, layers: Layers) -> ModuleType:
    """Return the module that composites these layers.

    Raises:
        ValueError: there is no such backend, or it does not fit them.
    """
    return fast_backend("composite", backend, layers.colour.device) or reference_composite
