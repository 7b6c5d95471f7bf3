"""Paint objects on images, one range of images per thread."""

from jaxtyping import Int
from torch import Tensor

from air3d.render.cpu import painting_kernels
from air3d.render.cpu.bands import flat, flat_images
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.layers import Layers, Painting


def paint(painting: Painting, layers: Layers, row: Int[Tensor, " row"]) -> None:
    """Merge one object into each row's layer; see :func:`air3d.render.paint`."""
    merged, background = painting.merged, painting.background
    behind = background[None, None, None] if background.dim() == 1 else background
    inputs = [
        *arrays(row),
        flat(layers.colour, layers.log_weight, layers.log_transmittance),
        flat(merged.colour, merged.log_weight, merged.log_transmittance),
        *flat_images(painting.rgb, behind),
    ]
    for_ranges(painting_kernels.paint, len(row), inputs)
