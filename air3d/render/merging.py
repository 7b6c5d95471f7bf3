"""The torch operations that merge layers, as ``operations`` has those that make them."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from air3d.render.images import Background
from air3d.render.layers import Composite, Layers
from air3d.render.operations import Operation, empty_like


def maps_of(layers: Layers) -> list[Tensor]:
    """Return the layers' four maps, that of the depth without pixels if there is none."""
    depth = layers.log_weight.new_empty(0, 0, 0, 0) if layers.depth is None else layers.depth
    return [layers.colour, layers.log_weight, layers.log_transmittance, depth]


def empty_gradients(layers: list[Tensor]) -> list[Tensor]:
    """Return contiguous tensors to be filled, whatever the strides of the layers' maps."""
    return [empty_like(part) for part in layers]


def composite_by(
    operation: Operation, layers: Layers, chosen: Tensor, background: Background
) -> Composite:
    """Merge layers into images by an operation that takes their maps, what is behind, ``chosen``.

    That is a :func:`composite_operation`, told a selection, or one that is told something else.
    """
    rgb, alpha, depth = operation(*maps_of(layers), background, chosen)
    return Composite(rgb, alpha, None if layers.depth is None else depth)


def composite_operation(name: str, fill: Callable, gradients: Callable) -> Operation:
    """Return the operation that merges layers into images.

    Args:
        name: what torch calls it.
        fill: of (maps, background, selection, images); the images are rgb, alpha and depth, which
            has no pixels if the layers have none.
        gradients: of (maps, background, selection, upstream, whether anybody wants the
            background's), returns those of the four maps and of the background.
    """

    @torch.library.custom_op(f"air3d::{name}", mutates_args=())
    def composite(
        colour: Tensor,
        log_weight: Tensor,
        log_transmittance: Tensor,
        depth: Tensor,
        background: Tensor,
        selection: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        images = _empty_images(log_weight, depth, selection)
        fill([colour, log_weight, log_transmittance, depth], background, selection, images)
        return images

    @composite.register_fake
    def _(colour, log_weight, log_transmittance, depth, background, selection):
        return _empty_images(log_weight, depth, selection)

    @torch.library.custom_op(f"air3d::{name}_backward", mutates_args=())
    def composite_backward(
        layers: list[Tensor],
        background: Tensor,
        selection: Tensor,
        upstream: list[Tensor],
        wants_background: bool,
    ) -> list[Tensor]:
        return gradients(layers, background, selection, upstream, wants_background)

    @composite_backward.register_fake
    def _(layers, background, selection, upstream, wants_background):
        return [*empty_gradients(layers), empty_like(background)]

    def save(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, *upstream):
        *layers, background, selection = ctx.saved_tensors
        wanted = ctx.needs_input_grad[4]
        grads = composite_backward(layers, background, selection, list(upstream), wanted)
        return *grads, None

    composite.register_autograd(backward, setup_context=save)
    return composite


def _empty_images(
    log_weight: Tensor, depth: Tensor, selection: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return tensors to be filled with rgb, alpha and, if the layers have it, depth."""
    batch, _, height, width = log_weight.shape
    shape = (batch, len(selection), height, width)
    depth_shape = shape if depth.shape[2] else (0, 0, 0, 0)
    rgb, alpha = log_weight.new_empty(*shape, 3), log_weight.new_empty(shape)
    return rgb, alpha, log_weight.new_empty(depth_shape)


def squared_error_by(
    operation: Operation,
    layers: Layers,
    selection: Tensor,
    background: Background,
    images: Tensor,
) -> Tensor:
    """Sum squared differences from the images by a :func:`squared_error_operation`."""
    coloured = replace(layers, depth=None)  # which changes no colour
    return operation(*maps_of(coloured), background, images, selection)


def squared_error_operation(name: str, sums: Callable, gradients: Callable) -> Operation:
    """Return the operation that compares composited images with pictures.

    Args:
        name: what torch calls it.
        sums: of (maps, background, images, selection), returns the errors [scene, image].
        gradients: of (maps, background, images, selection, upstream, whether anybody wants the
            background's, and the images'), returns those of the four maps, of the background and
            of the images, the last empty if not wanted.
    """

    @torch.library.custom_op(f"air3d::{name}", mutates_args=())
    def squared_error(
        colour: Tensor,
        log_weight: Tensor,
        log_transmittance: Tensor,
        depth: Tensor,
        background: Tensor,
        images: Tensor,
        selection: Tensor,
    ) -> Tensor:
        layers = [colour, log_weight, log_transmittance, depth]
        return sums(layers, background, images, selection)

    @squared_error.register_fake
    def _(colour, log_weight, log_transmittance, depth, background, images, selection):
        return log_weight.new_empty(len(log_weight), len(selection))

    @torch.library.custom_op(f"air3d::{name}_backward", mutates_args=())
    def squared_error_backward(
        layers: list[Tensor],
        background: Tensor,
        images: Tensor,
        selection: Tensor,
        upstream: Tensor,
        wants_background: bool,
        wants_images: bool,
    ) -> list[Tensor]:
        wanted = (wants_background, wants_images)
        return gradients(layers, background, images, selection, upstream, *wanted)

    @squared_error_backward.register_fake
    def _(layers, background, images, selection, upstream, wants_background, wants_images):
        by_image = images.new_empty(images.shape if wants_images else (0, 0, 0, 3))
        return [*empty_gradients(layers), empty_like(background), by_image]

    def save(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, upstream):
        *layers, background, images, selection = ctx.saved_tensors
        wanted = ctx.needs_input_grad[4:6]
        *grads, by_image = squared_error_backward(
            layers, background, images, selection, upstream, *wanted
        )
        return *grads, by_image if wanted[1] else None, None

    squared_error.register_autograd(backward, setup_context=save)
    return squared_error
