"""How far rendering is from the arithmetic that cannot be avoided."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.benchmarks.ceilings import matrix_product_speed
from air3d.benchmarks.workloads import SOFTNESS, BenchmarkScenes
from air3d.render import rasterize
from air3d.render.instances import place
from air3d.render.layers import blur_radius
from air3d.render.reference import project

FLOPS_FORWARD = 147
"""Floating-point operations of one fragment (a face at a pixel that it reaches), forward.

Counted in the kernel: the pixel's place 2, three edges' signed distances and feet and the nearest
of them 40, inside 5, barycentric coordinates 10, whether it is hit 3, coverage 2 and its
exponential 20, depth and nearness 9, weight 7 and its exponential 19, colour 15, sums 15.
Multiplications, additions, divisions, comparisons and choices count one each, changes of sign none.
"""

FLOPS_BACKWARD = 270
"""The same backward.

Anew place, distances, coverage, barycentric coordinates and depth 91 and the fragment's share 24;
then the derivatives of weight and coverage 26, of the corners' colours 12, of barycentric
coordinates and depths 38, of the outline's nearest point 27, of the corners' places 34; sums 18.
"""

ROOM = 64
"""Fragments that a pixel keeps while they are counted."""


@dataclass(frozen=True)
class Floor:
    """The arithmetic of a workload's layers, and how fast the machine can do arithmetic.

    Attributes:
        box_tests: pixels in the faces' bounding boxes, grown by the blur: what a rasterizer looks
            at that knows nothing better.
        fragments: pixels that faces reach: what must be computed.
        gigaflops_per_second: of a large float32 matrix product with as many threads.
        forward, total: milliseconds that the fragments' arithmetic takes at that speed.
    """

    box_tests: int
    fragments: int
    gigaflops_per_second: float
    forward: float
    total: float


def arithmetic_floor(scenes: BenchmarkScenes) -> Floor:
    """Count the fragments of every layer and divide their operations by the machine's speed."""
    face_verts = _projected_faces(scenes)
    height, width = scenes.camera.image_size
    radius = blur_radius(SOFTNESS.sigma)
    fragments = _count_fragments(face_verts, (height, width), radius)
    speed = matrix_product_speed()
    forward = 1e-6 * FLOPS_FORWARD * fragments / speed
    total = forward + 1e-6 * FLOPS_BACKWARD * fragments / speed
    return Floor(_box_tests(face_verts, (height, width), radius), fragments, speed, forward, total)


def _projected_faces(scenes: BenchmarkScenes) -> Float[Tensor, "layer face 3 3"]:
    with torch.no_grad():
        placement = place(scenes.instances, scenes.camera, scenes.light)
        return project(scenes.bank, placement).vertices[:, scenes.bank.faces[0]]


def _count_fragments(face_verts: Tensor, image_size: tuple[int, int], blur: float) -> int:
    """Count them with the contract's rasterizer, some layers at a time.

    Where a pixel's list is full there may be more: those layers' faces are counted in two halves.
    """
    count, num_faces = 0, face_verts.shape[1]
    for some in face_verts.split(8):
        first = num_faces * torch.arange(len(some))
        fragments = rasterize(
            some.flatten(0, 1),
            first,
            torch.full_like(first, num_faces),
            image_size=image_size,
            blur_radius=blur,
            faces_per_pixel=min(num_faces, ROOM),
        )
        shown = fragments.pix_to_face >= 0
        full = shown[..., -1].flatten(1).any(dim=1) & (num_faces > ROOM)
        count += int(shown[~full].sum())
        if full.any():
            halves = some[full].chunk(2, dim=1)
            count += sum(_count_fragments(half, image_size, blur) for half in halves)
    return count


def _box_tests(face_verts: Tensor, image_size: tuple[int, int], blur: float) -> int:
    """Count the pixel centres in every face's bounding box, grown by the blur."""
    height, width = image_size
    half = min(height, width) / 2
    low = face_verts[..., :2].amin(dim=-2) - blur**0.5
    high = face_verts[..., :2].amax(dim=-2) + blur**0.5
    sides = []
    for axis, size in ((0, width), (1, height)):
        # Centres lie at (2 i + 1 - size) / shorter side; how many are in [low, high]?
        first = (low[..., axis] * half + (size - 1) / 2).ceil().clamp(0, size)
        last = (high[..., axis] * half + (size - 1) / 2).floor().clamp(-1, size - 1)
        sides.append((last - first + 1).clamp(min=0))
    return int((sides[0] * sides[1]).sum())
