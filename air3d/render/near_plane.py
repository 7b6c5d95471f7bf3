"""Cut faces that cross the near plane, and undo the cut in the fragments.

Projection sends what lies near the camera's plane to infinity and what lies behind it to the
wrong side, so a face that reaches there is cut at a depth in front of it: one corner behind
leaves a quadrilateral (two triangles), two corners behind leave a triangle.

Of the two triangles a pixel keeps the nearer one. A pixel that is nearest to their common edge is
as near to both, and rounding chooses: with blur, PyTorch3D's answers and these, which follow
them, are not smooth there.

Every face gets two slots, of which most stay empty. So shapes do not depend on values, a tracing
compiler can follow, and the slots are in the order of their faces.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from air3d.render.fragments import Fragments

# Stands in an empty slot: a depth that every rasterizer drops.
_EMPTY = -1.0


@dataclass(frozen=True)
class CutFaces:
    """What is left of faces beyond the near plane: of face f in slots 2f and 2f + 1.

    Attributes:
        face_verts: corners as for :func:`air3d.render.rasterize.rasterize`.
        neighbour: the slot of the same face's other half, -1 where there is none.
        on_face: barycentric coordinates, on the whole face, of each corner of a slot; the unit
            matrix where the face is not cut.
    """

    face_verts: Float[Tensor, "slot 3 3"]
    neighbour: Int[Tensor, " slot"]
    on_face: Float[Tensor, "slot corner 3"]


def any_behind(face_verts: Float[Tensor, "face 3 3"], z_clip: float) -> bool:
    """Whether any corner lies behind the near plane."""
    return bool((face_verts[..., 2] < z_clip).any())


def cut_faces(
    face_verts: Float[Tensor, "face 3 3"], z_clip: float, perspective_correct: bool
) -> CutFaces:
    """Cut every face at depth ``z_clip`` and keep what lies beyond it.

    With ``perspective_correct``, x and y are projected and edges are straight in space; without,
    edges are straight as given. Gradients reach ``face_verts``, also through the points where
    its edges are cut.
    """
    behind = face_verts[..., 2] < z_clip
    count = behind.sum(dim=1)[:, None, None]
    units = torch.eye(3, dtype=face_verts.dtype, device=face_verts.device).expand_as(face_verts)
    # Each corner with its place on the face, as both are cut alike.
    corners = torch.cat([face_verts, units], dim=-1)
    first, second, third = _alone_first(corners, behind).unbind(dim=1)
    crosses = (count[:, 0] == 1) | (count[:, 0] == 2)
    on_second = _cut_edge(first, second, crosses, z_clip, perspective_correct)
    on_third = _cut_edge(first, third, crosses, z_clip, perspective_correct)
    tip = torch.stack([on_second, on_third, first], dim=1)
    half = torch.stack([on_second, second, on_third], dim=1)
    other_half = torch.stack([on_third, second, third], dim=1)
    empty = torch.cat([torch.full_like(face_verts, _EMPTY), units], dim=-1)
    cut = torch.where(count == 1, half, torch.where(count == 2, tip, empty))
    slots = [torch.where(count == 0, corners, cut), torch.where(count == 1, other_half, empty)]
    face_verts, on_face = torch.stack(slots, dim=1).flatten(0, 1).split(3, dim=-1)
    return CutFaces(face_verts, _neighbours(count.flatten() == 1), on_face)


def to_whole_faces(fragments: Fragments, cut: CutFaces) -> Fragments:
    """Express fragments of slots by the whole faces that these are parts of.

    Distances stay those to the edges of the parts, as in PyTorch3D. Gradients reach the
    fragments and ``cut.on_face``.
    """
    slot = fragments.pix_to_face
    kept = slot[..., None] >= 0
    bary_coords = torch.zeros_like(fragments.bary_coords)
    for corner, weight in enumerate(fragments.bary_coords.split(1, dim=-1)):
        # Not by an index, whose gradient torch sums on one thread.
        on_face = torch.nn.functional.embedding(slot.clamp(min=0), cut.on_face[:, corner])
        bary_coords = bary_coords + weight * on_face
    return Fragments(
        pix_to_face=torch.where(slot >= 0, slot // 2, -1),
        zbuf=fragments.zbuf,
        bary_coords=torch.where(kept, bary_coords, -1.0),
        dists=fragments.dists,
    )


def _alone_first(
    corners: Float[Tensor, "face 3 six"], behind: Bool[Tensor, "face 3"]
) -> Float[Tensor, "face 3 six"]:
    """Turn each face so that the corner that is alone on its side of the plane comes first."""
    mostly_behind = behind.sum(dim=1, keepdim=True) == 2
    alone = (behind ^ mostly_behind).to(torch.int8).argmax(dim=1, keepdim=True)
    order = (alone + torch.arange(3, device=alone.device)) % 3
    return corners.gather(1, order[..., None].expand_as(corners))


def _cut_edge(
    start: Float[Tensor, "face six"],
    end: Float[Tensor, "face six"],
    crosses: Bool[Tensor, "face 1"],
    z_clip: float,
    perspective_correct: bool,
) -> Float[Tensor, "face six"]:
    """Return the point at depth ``z_clip``; anything finite on edges that do not cross it."""
    near, far = start[:, 2:3], end[:, 2:3]
    weight = (near - z_clip) / torch.where(crosses, near - far, 1.0)
    point = start * (1 - weight) + end * weight
    if not perspective_correct:
        return point
    in_space = (start[:, :2] * near) * (1 - weight) + (end[:, :2] * far) * weight
    return torch.cat([in_space / z_clip, point[:, 2:]], dim=1)


def _neighbours(halved: Bool[Tensor, " face"]) -> Int[Tensor, " slot"]:
    """Return for each slot the other one of a face that is in two halves, else -1."""
    slot = torch.arange(2 * len(halved), device=halved.device)
    return torch.where(halved.repeat_interleave(2), slot ^ 1, -1)
