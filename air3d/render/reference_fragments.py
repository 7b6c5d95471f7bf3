"""Fragments in plain torch: dense, face after face, slow, float32 or float64, any device.

The twin of the fast rasterizers, in the order of operations of PyTorch3D's, with its gradients
repaired: what is clamped passes none, and the foot of the nearest edge's distance is a constant.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from air3d.render.fragments import Fragments, RasterSettings, check_ranges, pixel_centres

EPSILON = 1e-8
CLIP_EPSILON = 1e-5
# Stands in where there is no face, so that nothing becomes NaN there.
_SOME_FACE = ((0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (0.0, 1.0, 1.0))


@dataclass(frozen=True)
class _Pairs:
    """What pixels are to faces, before any pair is left out.

    Attributes:
        z: view depth of the point on the face.
        bary_coords: barycentric coordinates of that point.
        inside: whether the pixel's centre lies inside the face.
        distance: squared distance to the face's nearest edge.
    """

    z: Float[Tensor, "*pair"]
    bary_coords: Float[Tensor, "*pair 3"]
    inside: Bool[Tensor, "*pair"]
    distance: Float[Tensor, "*pair"]


def rasterize(
    face_verts: Float[Tensor, "face 3 3"],
    first_face: Int[Tensor, " image"],
    num_faces: Int[Tensor, " image"],
    neighbour: Int[Tensor, " face"],
    settings: RasterSettings,
) -> Fragments:
    """Rasterize in the precision and on the device of ``face_verts``, which gradients reach."""
    check_ranges(first_face, num_faces, len(face_verts))
    pixels = _pixels(settings.image_size, face_verts)
    pix_to_face = first_face.new_empty(len(first_face), len(pixels), settings.faces_per_pixel)
    for image, first, count in zip(pix_to_face, first_face, num_faces, strict=True):
        local = torch.where(neighbour < 0, -1, neighbour - first)[first : first + count]
        chosen = _nearest(face_verts[first : first + count].detach(), local, pixels, settings)
        image[:] = torch.where(chosen < 0, -1, chosen + first)
    # Index -1 is the face that stands in for those that are not there.
    faces = torch.cat([face_verts, face_verts.new_tensor(_SOME_FACE)[None]])
    pairs = _pair(faces[pix_to_face], pixels[:, None], settings)
    none = pix_to_face < 0
    maps = (
        pix_to_face,
        torch.where(none, -1.0, pairs.z),
        torch.where(none[..., None], -1.0, pairs.bary_coords),
        torch.where(none, -1.0, torch.where(pairs.inside, -pairs.distance, pairs.distance)),
    )
    return Fragments(*(part.unflatten(1, settings.image_size) for part in maps))


def _pixels(image_size: tuple[int, int], like: Tensor) -> Float[Tensor, "pixel 2"]:
    """Return the pixel centres in NDC, row by row."""
    height, width = image_size
    x = pixel_centres(width, height, like.dtype).to(like.device)
    y = pixel_centres(height, width, like.dtype).to(like.device)
    return torch.cartesian_prod(y, x).flip(1)


def _nearest(
    faces: Float[Tensor, "face 3 3"],
    neighbour: Int[Tensor, " face"],
    pixels: Float[Tensor, "pixel 2"],
    settings: RasterSettings,
) -> Int[Tensor, "pixel fragment"]:
    """Return every pixel's nearest faces, -1 where there are fewer.

    Faces come one after the other, as in PyTorch3D: what the two halves of a face do to each
    other depends on what is kept when the second one comes.
    """
    pairs = _pair(faces, pixels[:, None], settings)
    hit = _hits(pairs, faces, pixels, settings)
    kept_z = pairs.z.new_full((len(pixels), settings.faces_per_pixel), torch.inf)
    kept = torch.full_like(kept_z, -1, dtype=torch.int64)
    for face in hit.any(dim=0).nonzero().flatten().tolist():
        comes, other = hit[:, face], int(neighbour[face])
        if other >= 0:
            halves = kept == other
            closer = pairs.distance[:, face] < pairs.distance[:, other]
            comes = comes & (closer | ~halves.any(dim=1))
            kept_z = torch.where(halves & comes[:, None], torch.inf, kept_z)
        z = torch.where(comes, pairs.z[:, face], torch.inf)
        kept_z, order = torch.cat([kept_z, z[:, None]], dim=1).sort(dim=1, stable=True)
        last = torch.where(comes, face, -1)[:, None]
        kept = torch.cat([kept, last], dim=1).gather(1, order)[:, :-1]
        kept_z = kept_z[:, :-1]
    return torch.where(kept_z == torch.inf, -1, kept)


def _pair(
    corners: Float[Tensor, "*face 3 3"], pixel: Float[Tensor, "*pixel 2"], settings: RasterSettings
) -> _Pairs:
    """Relate pixels and faces, which broadcast against each other."""
    z0, z1, z2 = corners[..., 2].unbind(dim=-1)
    v0, v1, v2 = corners[..., :2].unbind(dim=-2)
    area = _cross(v2, v0, v1)
    area = (area.double() + EPSILON).to(area.dtype)
    weights = [_cross(pixel, *edge) / area for edge in ((v1, v2), (v2, v0), (v0, v1))]
    if settings.perspective_correct:
        weights = [weights[0] * z1 * z2, weights[1] * z0 * z2, weights[2] * z0 * z1]
        weights = _divide(weights, EPSILON)
    inside = (weights[0] > 0) & (weights[1] > 0) & (weights[2] > 0)
    if settings.clip_barycentric_coords:
        weights = _divide([weight.clamp(min=0.0) for weight in weights], CLIP_EPSILON)
    return _Pairs(
        z=weights[0] * z0 + weights[1] * z1 + weights[2] * z2,
        bary_coords=torch.stack(weights, dim=-1),
        inside=inside,
        distance=_triangle_distance(pixel, v0, v1, v2),
    )


def _hits(
    pairs: _Pairs,
    faces: Float[Tensor, "face 3 3"],
    pixels: Float[Tensor, "pixel 2"],
    settings: RasterSettings,
) -> Bool[Tensor, "pixel face"]:
    """Return which faces count at which pixels."""
    v0, v1, v2 = faces[..., :2].unbind(dim=-2)
    area = _cross(v0, v1, v2)
    shown = (area.abs() > EPSILON) & (faces[..., 2].amin(dim=-1).double() >= EPSILON)
    if settings.cull_backfaces:
        shown = shown & ~(area < 0)
    reach = area.new_tensor(settings.blur_radius).sqrt()
    low, high = faces[..., :2].amin(dim=-2) - reach, faces[..., :2].amax(dim=-2) + reach
    boxed = ((pixels[:, None] >= low) & (pixels[:, None] <= high)).all(dim=-1)
    near = pairs.inside | (pairs.distance < settings.blur_radius)
    finite = pairs.bary_coords.isfinite().all(dim=-1) & pairs.z.isfinite()
    return shown & boxed & near & (pairs.z >= 0) & finite & pairs.distance.isfinite()


def _cross(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return twice the signed area of the triangle (a, b, p)."""
    return (p[..., 0] - a[..., 0]) * (b[..., 1] - a[..., 1]) - (p[..., 1] - a[..., 1]) * (
        b[..., 0] - a[..., 0]
    )


def _divide(weights: list[Tensor], least: float) -> list[Tensor]:
    """Divide weights by their sum; where that is less than ``least`` it gives way to a constant."""
    total = weights[0] + weights[1] + weights[2]
    total = torch.where(total > least, total, least)
    return [weight / total for weight in weights]


def _triangle_distance(p: Tensor, v0: Tensor, v1: Tensor, v2: Tensor) -> Tensor:
    """Return squared distances to the nearest edge; of edges as near, the first gets gradients."""
    nearest = _edge_distance(p, v0, v1)
    for edge in ((v0, v2), (v1, v2)):
        distance = _edge_distance(p, *edge)
        nearest = torch.where(distance < nearest, distance, nearest)
    return nearest


def _edge_distance(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Return squared distances to segments; one that is too short counts as its end b."""
    along = b - a
    length = (along * along).sum(dim=-1)
    short = length <= EPSILON
    foot = (along * (p - a)).sum(dim=-1) / torch.where(short, 1.0, length)
    nearest = a + foot.clamp(0.0, 1.0).detach()[..., None] * along
    offset = p - torch.where(short[..., None], b, nearest)
    return (offset * offset).sum(dim=-1)
