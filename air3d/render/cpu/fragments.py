"""Keep the nearest faces at every pixel: the CPU backend of :func:`rasterize`."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.cpu import fragment_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.fragments import Fragments, RasterSettings, check_ranges, pixel_centres
from air3d.render.operations import empty_like

# Rows in a band, the unit of work: large enough to make little of what a face costs per band.
_MIN_BAND = 32
# Every band has its own sums of gradients, so a large image has no more bands than this.
_MAX_BANDS = 8


def rasterize(
    face_verts: Float[Tensor, "face 3 3"],
    first_face: Int[Tensor, " image"],
    num_faces: Int[Tensor, " image"],
    neighbour: Int[Tensor, " face"],
    settings: RasterSettings,
) -> Fragments:
    """Rasterize by Numba kernels; float32 or float64. Gradients reach ``face_verts``."""
    zbuf, bary_coords, dists, pix_to_face = _rasterize(
        face_verts,
        first_face,
        num_faces,
        neighbour,
        list(settings.image_size),
        settings.blur_radius,
        settings.faces_per_pixel,
        settings.perspective_correct,
        settings.clip_barycentric_coords,
        settings.cull_backfaces,
    )
    return Fragments(pix_to_face, zbuf, bary_coords, dists)


@torch.library.custom_op("air3d::rasterize_fragments", mutates_args=())
def _rasterize(
    face_verts: Tensor,
    first_face: Tensor,
    num_faces: Tensor,
    neighbour: Tensor,
    image_size: list[int],
    blur_radius: float,
    faces_per_pixel: int,
    perspective_correct: bool,
    clip_barycentric_coords: bool,
    cull_backfaces: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check_ranges(first_face, num_faces, len(face_verts))
    outputs = _empty_fragments(face_verts, first_face, image_size, faces_per_pixel)
    constants = [blur_radius, fragment_kernels.EPSILON, fragment_kernels.CLIP_EPSILON]
    packed = arrays(face_verts, first_face, num_faces, neighbour)
    centres = arrays(*_centres(image_size, face_verts.dtype), face_verts.new_tensor(constants))
    options = [perspective_correct, clip_barycentric_coords, cull_backfaces, faces_per_pixel]
    maps = arrays(*(output.view(-1) for output in outputs))
    band, bands = _bands(image_size[0])
    arguments = [band, *packed, *centres, *options, *maps]
    for_ranges(fragment_kernels.rasterize, len(first_face) * bands, arguments)
    return outputs


@_rasterize.register_fake
def _(face_verts, first_face, num_faces, neighbour, image_size, blur_radius, faces_per_pixel, *_):
    return _empty_fragments(face_verts, first_face, image_size, faces_per_pixel)


@torch.library.custom_op("air3d::rasterize_fragments_backward", mutates_args=())
def _rasterize_backward(
    face_verts: Tensor,
    first_face: Tensor,
    num_faces: Tensor,
    perspective_correct: bool,
    clip_barycentric_coords: bool,
    pix_to_face: Tensor,
    grad_zbuf: Tensor | None,
    grad_bary_coords: Tensor | None,
    grad_dists: Tensor | None,
) -> Tensor:
    images, height, width, slots = pix_to_face.shape
    band, bands = _bands(height)
    ranges = arrays(first_face, num_faces, num_faces.cumsum(0) - num_faces)
    centres = arrays(*_centres([height, width], face_verts.dtype))
    upstream = [
        _flat(gradient, pix_to_face.numel() * size, face_verts)
        for gradient, size in ((grad_zbuf, 1), (grad_bary_coords, 3), (grad_dists, 1))
    ]
    sums = np.empty((bands, int(num_faces.sum()), 9))
    options = [perspective_correct, clip_barycentric_coords, slots]
    maps = [*arrays(pix_to_face.flatten()), *upstream, sums]
    arguments = [band, *arrays(face_verts), *ranges, *centres, *options, *maps]
    for_ranges(fragment_kernels.rasterize_backward, images * bands, arguments)
    grad_face_verts = face_verts.new_zeros(len(face_verts), 9, dtype=torch.float64)
    arguments = [*arrays(grad_face_verts), *ranges, sums]
    fragment_kernels.add_bands(*arguments)
    return grad_face_verts.to(face_verts.dtype).view_as(face_verts)


@_rasterize_backward.register_fake
def _(face_verts, *_):
    return empty_like(face_verts)


def _save(ctx, inputs, output):
    face_verts, first_face, num_faces, *_ = inputs
    ctx.settings = inputs[7:9]
    ctx.save_for_backward(face_verts, first_face, num_faces, output[3])
    ctx.set_materialize_grads(False)


def _backward(ctx, *upstream):
    *packed, pix_to_face = ctx.saved_tensors
    grad = _rasterize_backward(*packed, *ctx.settings, pix_to_face, *upstream[:3])
    return grad, *[None] * 9


_rasterize.register_autograd(_backward, setup_context=_save)


def _flat(gradient: Tensor | None, size: int, like: Tensor) -> np.ndarray:
    """View a map of gradients as a flat array; what nobody asked for is zero."""
    if gradient is None:
        return np.zeros(size, arrays(like)[0].dtype)  # NumPy's are not written before they are read
    return arrays(gradient.reshape(-1))[0]


def _empty_fragments(
    face_verts: Tensor, first_face: Tensor, image_size: list[int], faces_per_pixel: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return zbuf, bary_coords, dists and pix_to_face to be filled."""
    shape = (len(first_face), *image_size, faces_per_pixel)
    return (
        face_verts.new_empty(shape),
        face_verts.new_empty(*shape, 3),
        face_verts.new_empty(shape),
        first_face.new_empty(shape),
    )


def _centres(image_size: list[int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the pixel centres' x and y."""
    height, width = image_size
    return pixel_centres(width, height, dtype), pixel_centres(height, width, dtype)


def _bands(height: int) -> tuple[int, int]:
    """Return how many rows a band has and how many bands an image; by its size alone."""
    band = max(_MIN_BAND, -(-height // _MAX_BANDS))
    return band, -(-height // band)
