"""Express fragments of cut faces by the whole faces: the CPU's twin of ``near_plane``."""

import numpy as np
import torch
from torch import Tensor

from air3d.render.cpu import near_plane_kernels
from air3d.render.cpu.threads import arrays, for_ranges
from air3d.render.fragments import Fragments
from air3d.render.near_plane import CutFaces
from air3d.render.operations import empty_like

# Fixed, as every part has its own sums of gradients.
_PARTS = 16


def to_whole_faces(fragments: Fragments, cut: CutFaces) -> Fragments:
    """See :func:`air3d.render.near_plane.to_whole_faces`; gradients reach the same."""
    bary_coords, pix_to_face = _to_whole_faces(
        fragments.pix_to_face, fragments.bary_coords, cut.on_face
    )
    return Fragments(pix_to_face, fragments.zbuf, bary_coords, fragments.dists)


@torch.library.custom_op("air3d::to_whole_faces", mutates_args=())
def _to_whole_faces(slots: Tensor, bary: Tensor, on_face: Tensor) -> tuple[Tensor, Tensor]:
    outputs = empty_like(bary), empty_like(slots)
    _, place = _cut_slots(on_face)
    flat = arrays(slots.flatten(), bary.flatten(), on_face)
    results = arrays(*(output.flatten() for output in outputs))
    for_ranges(near_plane_kernels.to_whole_faces, _PARTS, [_PARTS, *flat, place, *results])
    return outputs


@_to_whole_faces.register_fake
def _(slots, bary, on_face):
    return empty_like(bary), empty_like(slots)


@torch.library.custom_op("air3d::to_whole_faces_backward", mutates_args=())
def _to_whole_faces_backward(
    slots: Tensor, bary: Tensor, on_face: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor]:
    grad_bary = empty_like(bary)
    cut, place = _cut_slots(on_face)
    sums = np.empty((_PARTS, len(cut), 9))
    flat = arrays(slots.flatten(), bary.flatten(), on_face)
    maps = arrays(upstream.flatten(), grad_bary.flatten())
    for_ranges(
        near_plane_kernels.to_whole_faces_backward, _PARTS, [_PARTS, *flat, place, *maps, sums]
    )
    grad_on_face = torch.zeros_like(on_face, memory_format=torch.contiguous_format)
    grad_on_face[cut] = torch.from_numpy(sums.sum(axis=0)).to(on_face).unflatten(1, (3, 3))
    return grad_bary, grad_on_face


@_to_whole_faces_backward.register_fake
def _(slots, bary, on_face, upstream):
    return empty_like(bary), empty_like(on_face)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _backward(ctx, upstream, _):
    return None, *_to_whole_faces_backward(*ctx.saved_tensors, upstream)


_to_whole_faces.register_autograd(_backward, setup_context=_save)


def _cut_slots(on_face: Tensor) -> tuple[Tensor, np.ndarray]:
    """Return the slots that hold part of a face, and for each slot its place among them, or -1."""
    whole = torch.eye(3, dtype=on_face.dtype)
    partial = (on_face != whole).flatten(1).any(dim=1)
    return partial.nonzero().flatten(), torch.where(partial, partial.cumsum(0) - 1, -1).numpy()
