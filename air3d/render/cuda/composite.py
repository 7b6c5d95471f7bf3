"""Merge layers into images."""

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from air3d.render import reference_composite
from air3d.render.checks import check_selection
from air3d.render.cuda import composite_gradient_kernels, composite_kernels
from air3d.render.cuda.images import (
    PIXELS,
    empty_behind,
    num_blocks,
    on_device,
    sizes,
    sum_behind,
)
from air3d.render.cuda.launch import dense, launch, power_of_2
from air3d.render.images import Background
from air3d.render.layers import Composite, Layers
from air3d.render.merging import composite_by, composite_operation, empty_gradients


def composite(
    layers: Layers, selection: Int[Tensor, "image slot"], background: Background
) -> Composite:
    """Merge the selected layers of every scene; see :func:`air3d.render.composite`."""
    return composite_by(_composite, layers, selection, background)


def expected_composite(
    layers: Layers, presence: Float[Tensor, "batch object"], background: Background
) -> Composite:
    """Average all subsets' images; see :func:`air3d.render.expected_composite`."""
    return reference_composite.mean_of_subsets(composite, layers, presence, background)


def _fill(
    layers: list[Tensor], background: Tensor, selection: Tensor, images: Sequence[Tensor]
) -> None:
    log_weight = layers[1]
    check_selection(selection, log_weight.shape[1])
    selection = on_device(selection, log_weight)
    launch(
        composite_kernels.composite,
        len(log_weight) * len(selection) * num_blocks(log_weight),
        *dense(*layers, background),
        selection,
        *images,
        *sizes(log_weight, selection, background),
        WITH_DEPTH=images[2].numel() > 0,
        PIXELS=PIXELS,
        num_warps=4,
    )


def _gradients(
    layers: list[Tensor],
    background: Tensor,
    selection: Tensor,
    upstream: list[Tensor],
    wants_background: bool,
) -> list[Tensor]:
    selection = on_device(selection, layers[1])
    nothing = layers[1].new_empty(0)
    above = [nothing, *dense(*upstream), nothing]
    grads = merge_backward(layers, background, selection, above)
    by_pixel = empty_behind(layers[1], wants_background)
    if wants_background:
        behind_backward(layers, background, selection, above, [by_pixel, nothing])
    return [*grads, sum_behind(by_pixel, background)]


_composite = composite_operation("cuda_composite", _fill, _gradients)


def merge_backward(
    layers: list[Tensor], background: Tensor, selection: Tensor, above: list[Tensor]
) -> list[Tensor]:
    """Return the gradients of layers.

    ``above``: pictures, the gradients of rgb, alpha and depth, and of squared errors; either the
    pictures and the last are empty, or the others.
    """
    log_weight = layers[1]
    grads = empty_gradients(layers)
    programs = log_weight.shape[:2].numel() * num_blocks(log_weight)
    launch(
        composite_gradient_kernels.merge_backward,
        programs,
        *dense(*layers, background),
        selection,
        *above,
        *grads,
        *sizes(log_weight, selection, background),
        SQUARED=above[0].numel() > 0,
        WITH_DEPTH=layers[3].numel() > 0,
        SLOTS=power_of_2(max(1, selection.shape[1])),
        PIXELS=PIXELS,
        num_warps=4,
    )
    return grads


def behind_backward(
    layers: list[Tensor],
    background: Tensor,
    selection: Tensor,
    above: list[Tensor],
    grads: list[Tensor],
) -> None:
    """Fill the gradients of what is behind layers, and of pictures; ``above`` as there."""
    pictures, grad_rgb, _, _, grad_errors = above
    colour, log_weight, log_transmittance, _ = layers
    launch(
        composite_gradient_kernels.behind_backward,
        len(log_weight) * num_blocks(log_weight),
        *dense(colour, log_weight, log_transmittance, background),
        selection,
        *(pictures, grad_rgb, grad_errors),
        *grads,
        *sizes(log_weight, selection, background),
        SQUARED=pictures.numel() > 0,
        PIXELS=PIXELS,
        num_warps=4,
    )
