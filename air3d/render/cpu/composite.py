"""Merge layers into images, bands of pixels spread over threads."""

from collections.abc import Sequence

from jaxtyping import Int
from torch import Tensor

from air3d.render.checks import check_selection
from air3d.render.cpu import composite_kernels
from air3d.render.cpu.bands import behind, empty_behind, flat, num_bands, sum_behind
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.images import Background
from air3d.render.layers import Composite, Layers
from air3d.render.merging import composite_by, composite_operation, empty_gradients


def composite(
    layers: Layers, selection: Int[Tensor, "image slot"], background: Background
) -> Composite:
    """Merge the selected layers of every scene; see :func:`air3d.render.composite`."""
    return composite_by(_composite, layers, selection, background)


def _fill(
    layers: list[Tensor], background: Tensor, selection: Tensor, images: Sequence[Tensor]
) -> None:
    log_weight = layers[1]
    check_selection(selection, log_weight.shape[1])
    inputs = [flat(*layers), behind(background, log_weight), *arrays(selection), flat(*images)]
    for_ranges(composite_kernels.composite, num_bands(log_weight), inputs)


def _gradients(
    layers: list[Tensor],
    background: Tensor,
    selection: Tensor,
    upstream: list[Tensor],
    wants_background: bool,
) -> list[Tensor]:
    log_weight = layers[1]
    grads = empty_gradients(layers)
    by_pixel = empty_behind(log_weight, wants_background)
    inputs = [flat(*layers), behind(background, log_weight), *arrays(selection), flat(*upstream)]
    inputs += [flat(*grads), *arrays(by_pixel)]
    for_ranges(composite_kernels.composite_backward, num_bands(log_weight), inputs)
    return [*grads, sum_behind(by_pixel, background)]


_composite = composite_operation("composite", _fill, _gradients)
