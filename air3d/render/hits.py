"""The pixels that any face reaches, as one list: only there is anything to shade or to blend."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from air3d.render.fragments import Fragments
from air3d.render.mixing import mix_rows


@dataclass(frozen=True)
class HitPixels:
    """Where fragments are.

    Attributes:
        pixel: the pixels that have at least one fragment, counted through all images.
        face: which packed face each of their fragments shows; -1 where there is no more.
        shape: (images, height, width).
    """

    pixel: Int[Tensor, " pixel"]
    face: Int[Tensor, "pixel fragment"]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, fragments: Fragments) -> "HitPixels":
        """Find them: the first fragment is there if any is."""
        *_, faces_per_pixel = fragments.pix_to_face.shape
        faces = fragments.pix_to_face.reshape(-1, faces_per_pixel)
        pixel = (faces[:, :1] >= 0).any(dim=1).nonzero()[:, 0]
        images, height, width = fragments.pix_to_face.shape[:3]
        return cls(pixel, faces.index_select(0, pixel), (images, height, width))

    @property
    def exists(self) -> Bool[Tensor, "pixel fragment"]:
        """Whether there is a fragment."""
        return self.face >= 0

    @property
    def image(self) -> Int[Tensor, " pixel"]:
        """Which image each pixel belongs to."""
        _, height, width = self.shape
        return self.pixel // (height * width)

    def take(self, maps: Float[Tensor, "image height width *rest"]) -> Float[Tensor, "pixel *rest"]:
        """Return these pixels of ``maps``, which gradients reach."""
        # Not by an index in brackets, whose gradient torch sums far more slowly.
        return maps.flatten(0, 2).index_select(0, self.pixel)

    def put(
        self, values: Float[Tensor, "pixel *rest"], elsewhere: Tensor | float = 0.0
    ) -> Float[Tensor, "image height width *rest"]:
        """Return maps with ``values`` at these pixels; gradients reach both arguments."""
        images, height, width = self.shape
        elsewhere = torch.as_tensor(elsewhere).to(values)
        maps = elsewhere.expand(images * height * width, *values.shape[1:])
        return maps.index_copy(0, self.pixel, values).unflatten(0, self.shape)

    def of_faces(self, numbers: Int[Tensor, "face *rest"]) -> Int[Tensor, "pixel fragment *rest"]:
        """Return the numbers of each fragment's face, -1 where there is no fragment."""
        none = numbers.new_full((1, *numbers.shape[1:]), -1)
        rows = torch.cat([none, numbers]).index_select(0, self.face.flatten() + 1)
        return rows.unflatten(0, self.face.shape)

    def interpolate(
        self,
        bary_coords: Float[Tensor, "image height width fragment 3"],
        values: Float[Tensor, "row channel"],
        faces: Int[Tensor, "face 3"],
    ) -> Float[Tensor, "pixel fragment channel"]:
        """Weight the values at each face's corners, which are rows of ``values``.

        0 where there is no fragment. Gradients reach the barycentric coordinates and the values.
        """
        corners, weights = self.of_faces(faces).flatten(0, 1), self.take(bary_coords).flatten(0, 1)
        return mix_rows(values, corners, weights).unflatten(0, self.face.shape)
