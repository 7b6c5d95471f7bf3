"""Refuse what does not fit together, in one sentence that names the argument.

Shapes, precisions and devices are looked at always; values on the CPU alone, and not while a
compiler traces, which may not look at them. For values on a GPU the host would have to wait until
it has done all that was asked of it before, at every call. There, what would be refused shows
nothing and passes no gradients (NaN in poses and cameras, an identity or a layer that is not
there), and highlights are left out.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from air3d.render.layers import Layers
from air3d.scene.lights import Light

PRECISIONS = (torch.float32, torch.float64)
"""What can be rendered in; half precisions have too few digits for a depth."""


def may_look(tensor: Tensor) -> bool:
    """Return whether a check may look at the tensor's values."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_kind(verb: str, name: str, like: Tensor, **others: Tensor | None) -> None:
    """Refuse tensors that are not of the precision and on the device of ``like``, called ``name``.

    Nothing is converted silently.

    Raises:
        ValueError: one is, or ``like`` is of a precision that cannot be rendered in.
    """
    if like.dtype not in PRECISIONS:
        raise ValueError(
            f"{verb}: {name} must be float32 or float64, got {like.dtype}; convert it by .to()"
        )
    for other, tensor in others.items():
        if tensor is not None and (tensor.dtype, tensor.device) != (like.dtype, like.device):
            raise ValueError(
                f"{verb}: {other} is {tensor.dtype} on {tensor.device} but {name} is "
                f"{like.dtype} on {like.device}; bring them together by .to()"
            )


def check_batches(verb: str, **lengths: int) -> int:
    """Return the batch of arguments that hold a row for each of its scenes, or one for all.

    Raises:
        ValueError: one holds another number of rows.
    """
    batch = 0 if 0 in lengths.values() else max(lengths.values())
    for name, length in lengths.items():
        if length not in (1, batch):
            raise ValueError(
                f"{verb}: {name} must hold 1 or {batch} rows (the batch), got {length}"
            )
    return batch


def check_not_nan(verb: str, **tensors: Tensor | None) -> None:
    """Refuse NaN, which would show nothing and stop the gradients, as if nothing were wrong.

    Raises:
        ValueError: there is one.
    """
    for name, tensor in tensors.items():
        if tensor is not None and may_look(tensor) and tensor.isnan().any():
            raise ValueError(
                f"{verb}: {name} must hold numbers, got NaN; look where it was computed, as by a "
                "step of optimization that went too far"
            )


def check_dull(verb: str, light: Light) -> None:
    """Refuse light with highlights, which layers do not show.

    Raises:
        ValueError: the light has a specular part.
    """
    if may_look(light.specular) and light.specular.any():
        raise ValueError(
            f"{verb}: light must have no specular part, as layers show no highlights; leave it "
            "at 0, or render fragments with phong_shading"
        )


def check_layers(layers: Layers, selection: Tensor | None = None) -> None:
    """Refuse layers whose maps do not go together, and a selection that is no table of numbers.

    Raises:
        ValueError: shapes, precisions or devices differ.
    """
    shape = layers.log_weight.shape
    if len(shape) != 4:
        raise ValueError(
            "composite: layers.log_weight must be [batch, object, height, width], got "
            f"{list(shape)}"
        )
    wanted = {"colour": [*shape, 3], "log_transmittance": [*shape], "depth": [*shape]}
    for name, sizes in wanted.items():
        part = getattr(layers, name)
        if part is not None and list(part.shape) != sizes:
            raise ValueError(
                f"composite: layers.{name} must be {sizes}, as layers.log_weight is, got "
                f"{list(part.shape)}"
            )
    others = {f"layers.{name}": getattr(layers, name) for name in wanted}
    check_kind("composite", "layers.log_weight", layers.log_weight, **others)
    if selection is not None:
        _check_table(selection)


def _check_table(selection: Tensor) -> None:
    whole = selection.dtype in (torch.int64, torch.int32)
    if selection.dim() != 2 or not whole:
        raise ValueError(
            "composite: selection must be [image, slot] of torch.int64, got "
            f"{list(selection.shape)} of {selection.dtype}; give a single image as selection[None]"
        )


def check_selection(selection: Int[Tensor, "image slot"], num_layers: int) -> None:
    """Refuse a selection of layers that are not there.

    Every backend calls this itself: it reads values, which tracing compilers must not do.

    Raises:
        ValueError: ``selection`` names a layer that is not there.
    """
    if not may_look(selection) or not selection.numel():
        return
    if not -1 <= int(selection.min()) <= int(selection.max()) < num_layers:
        raise ValueError(
            f"composite: selection must hold numbers from -1 to {num_layers - 1} (one per "
            f"object), got {int(selection.min())} to {int(selection.max())}"
        )


def check_images(images: Tensor, name: str, layers: Layers, scenes: tuple[int, ...]) -> None:
    """Refuse images that do not go with layers [batch, object, height, width].

    Raises:
        ValueError: the images' shape is not [one of ``scenes``, height, width, 3], or their
            precision or device is not the layers'.
    """
    height, width = layers.log_weight.shape[2:]
    if images.shape[1:] != (height, width, 3) or len(images) not in scenes:
        wanted = " or ".join(str(count) for count in dict.fromkeys(scenes))
        raise ValueError(
            f"composite: {name} must be [{wanted}, {height}, {width}, 3], as the layers are, got "
            f"{list(images.shape)}; channels come last"
        )
    check_kind("composite", "layers.colour", layers.colour, **{name: images})


def check_background(background: Tensor, layers: Layers) -> None:
    """Refuse a background that is neither one colour nor an image that goes with the layers.

    Raises:
        ValueError: it is neither, or of another precision or device.
    """
    if background.dim() > 1:
        check_images(background, "background", layers, (1, len(layers.log_weight)))
    else:
        check_colour("composite", background, "layers.colour", layers.colour)


def check_colour(verb: str, background: Tensor, name: str, like: Tensor) -> None:
    """Refuse a background that is not one colour [3] like ``like``, called ``name``.

    Raises:
        ValueError: it is not.
    """
    if background.shape != (3,):
        raise ValueError(f"{verb}: background must be one colour [3], got {list(background.shape)}")
    check_kind(verb, name, like, background=background)
