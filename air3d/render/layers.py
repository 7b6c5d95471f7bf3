"""What goes from rasterizing to compositing, and what comes out: meshes, layers, images."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.images import Background

OPAQUE = {torch.float32: -20.0, torch.float64: -40.0}
"""The log-transmittance at which a pixel is opaque, by precision: exp of it is lost in rounding."""


def blur_radius(sigma: float) -> float:
    """Return the squared NDC distance at which a face's coverage has fallen to 1e-4."""
    return math.log(1.0 / 1e-4 - 1.0) * sigma


@dataclass(frozen=True)
class Layers:
    """One softly rasterized image per object, before compositing.

    Leading dimensions are [batch, object], and one for all layers inside a backend.

    Attributes:
        colour: mean colour of the faces at a pixel, weighted by nearness and coverage; 0 where
            nothing is hit.
        log_weight: log sum_k prob_k exp(z_inv_k / gamma) over the faces k; -inf where nothing
            is hit.
        log_transmittance: sum_k log(1 - prob_k), at most 0; 0 where nothing is hit, and no less
            than ``OPAQUE``, where it gets no gradients.
        depth: mean depth of the faces (metres), weighted as the colour is, 0 where nothing is
            hit; None where nobody asked for it.
    """

    colour: Float[Tensor, "*layer height width 3"]
    log_weight: Float[Tensor, "*layer height width"]
    log_transmittance: Float[Tensor, "*layer height width"]
    depth: Float[Tensor, "*layer height width"] | None = None

    def pick(self, order: Int[Tensor, "batch slot"]) -> "Layers":
        """Return some of each scene's layers, by their numbers; gradients go back to them."""
        row = torch.arange(len(order), device=order.device)[:, None]
        return Layers(
            self.colour[row, order],
            self.log_weight[row, order],
            self.log_transmittance[row, order],
            None if self.depth is None else self.depth[row, order],
        )

    def split(self, sizes: list[int]) -> "list[Layers]":
        """Return the layers of the first scenes, of the next, and so on; they share memory."""
        parts = [self.colour, self.log_weight, self.log_transmittance]
        parts += [] if self.depth is None else [self.depth]
        return [Layers(*some) for some in zip(*(part.split(sizes) for part in parts), strict=True)]

    def unflatten(self, batch: int, objects: int) -> "Layers":
        """Return a backend's layers by batch and object."""
        sizes = (batch, objects)
        return Layers(
            self.colour.unflatten(0, sizes),
            self.log_weight.unflatten(0, sizes),
            self.log_transmittance.unflatten(0, sizes),
            None if self.depth is None else self.depth.unflatten(0, sizes),
        )


@dataclass(frozen=True)
class ProjectedMeshes:
    """One lit mesh per layer, in front of its camera: all that a rasterizer needs.

    Attributes:
        vertices: x and y in PyTorch3D's NDC (+x left, +y up, the short image side spans
            [-1, 1]) and the depth in metres; x and y mean nothing where the depth is below
            ``MIN_DEPTH``.
        colours: vertex colours after lighting; they multiply the texture where there is one.
        faces, num_faces: as in the mesh bank, [M, F, 3] and [M].
        uvs, textures, texture_sizes: as in the mesh bank, [M, V, 2], [M, Th, Tw, 3] and [M, 2].
        mesh: which of the M meshes each layer shows; -1 for an empty layer.
        image_size: (height, width).
    """

    vertices: Float[Tensor, "layer vertex 3"]
    colours: Float[Tensor, "layer vertex 3"]
    faces: Int[Tensor, "mesh face 3"]
    num_faces: Int[Tensor, " mesh"]
    uvs: Float[Tensor, "mesh vertex 2"]
    textures: Float[Tensor, "mesh row column 3"]
    texture_sizes: Int[Tensor, "mesh 2"]
    mesh: Int[Tensor, " layer"]
    image_size: tuple[int, int]


@dataclass(frozen=True)
class Composite:
    """Composited images.

    Attributes:
        rgb: colour over the background.
        alpha: 1 - the product of all transmittances.
        depth: mean depth of the layers (metres), weighted as their colours are, 0 where nothing
            is hit; None where the layers have none.
    """

    rgb: Float[Tensor, "batch *image height width 3"]
    alpha: Float[Tensor, "batch *image height width"]
    depth: Float[Tensor, "batch *image height width"] | None = None


@dataclass(frozen=True)
class Painting:
    """Images that objects are painted on, by :func:`~air3d.render.paint`, in place.

    Attributes:
        rgb: the images so far.
        merged: the layers of the objects so far, merged into one for each image [B, 1, H, W].
        background: behind them.
    """

    rgb: Float[Tensor, "batch height width 3"]
    merged: Layers
    background: Background

    @classmethod
    def blank(cls, batch: int, image_size: tuple[int, int], background: Background) -> "Painting":
        """Return images of the background alone."""
        merged = Layers(
            background.new_zeros(batch, 1, *image_size, 3),
            background.new_full((batch, 1, *image_size), -math.inf),
            background.new_zeros(batch, 1, *image_size),
        )
        background = background.detach()
        rgb = background.expand(batch, *image_size, 3)
        return cls(rgb.clone(memory_format=torch.contiguous_format), merged, background)
