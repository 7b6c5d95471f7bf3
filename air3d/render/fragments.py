"""What a rasterizer of packed faces is told, and what it answers: PyTorch3D's contract."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class RasterSettings:
    """What every backend is told beside the faces.

    Attributes:
        image_size: (height, width) in pixels.
        blur_radius: squared NDC distance up to which a face reaches beyond its edges.
        faces_per_pixel: how many fragments a pixel keeps, K.
        perspective_correct: whether barycentric coordinates are corrected for perspective.
        clip_barycentric_coords: whether those of a pixel outside a face move to its border.
        cull_backfaces: whether faces whose corners run clockwise on the image are left out.
    """

    image_size: tuple[int, int]
    blur_radius: float
    faces_per_pixel: int
    perspective_correct: bool
    clip_barycentric_coords: bool
    cull_backfaces: bool


@dataclass(frozen=True)
class Fragments:
    """The K nearest faces at every pixel, nearest first; -1 everywhere where there are fewer.

    Gradients flow from all but ``pix_to_face``.

    Attributes:
        pix_to_face: index into the packed faces.
        zbuf: view depth, in the unit of the faces' z.
        bary_coords: barycentric coordinates of the pixel on the face.
        dists: squared NDC distance to the face's nearest edge, negative inside the face. Beware
            of the padding, which looks like deep inside: mask with ``pix_to_face >= 0``.
    """

    pix_to_face: Int[Tensor, "image height width fragment"]
    zbuf: Float[Tensor, "image height width fragment"]
    bary_coords: Float[Tensor, "image height width fragment 3"]
    dists: Float[Tensor, "image height width fragment"]


def pixel_centres(size: int, other: int, dtype: torch.dtype) -> Float[Tensor, " size"]:
    """Return the NDC coordinates of the pixel centres along one image side, falling.

    ``other`` is the image's other side. Every step is rounded to ``dtype``, in PyTorch3D's order:
    fragments are equal to the bit only where the centres are. Layers take
    :func:`air3d.render.instances.exact_centres`.
    """
    extent = torch.tensor(2.0, dtype=dtype)
    if size > other:
        extent = size * extent / other
    offset = extent / 2.0
    pixel = torch.arange(size - 1, -1, -1, dtype=dtype)
    return -offset + (extent * pixel + offset) / size


def check_ranges(
    first_face: Int[Tensor, " image"], num_faces: Int[Tensor, " image"], total: int
) -> None:
    """Refuse images whose faces are not among the ``total`` packed ones.

    Every backend calls this itself: it reads values, which tracing compilers must not do.

    Raises:
        ValueError: a range of faces is negative or too long.
    """
    wrong = (first_face < 0) | (num_faces < 0) | (first_face + num_faces > total)
    if wrong.any():
        image = int(wrong.nonzero()[0])
        raise ValueError(
            f"rasterize: first_face and num_faces must name ranges of the {total} packed faces, "
            f"but image {image} asks for {int(num_faces[image])} from {int(first_face[image])} on"
        )
