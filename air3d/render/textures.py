"""Textures: images that are wrapped around surfaces by coordinates at the corners of faces."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.render.hits import HitPixels
from air3d.render.mixing import mix_rows


@dataclass(frozen=True)
class UVTexture:
    """Images and where on them the faces lie.

    u runs from an image's left edge (0) to its right (1) and v from its lower edge (0) to its
    upper (1); 0 and 1 are the centres of its outermost texels, and what lies beyond shows these.
    Between texels colours are bilinear. All this is PyTorch3D's default.

    Attributes:
        maps: the images, whose first row is the upper edge.
        sizes: the height and width of each; rows and columns from there on are padding.
        verts_uvs: texture coordinates (u, v).
        faces_uvs: the rows of ``verts_uvs`` at each packed face's corners.
        faces_map: which image each face shows; -1 for none, which is white.
    """

    maps: Float[Tensor, "map row column 3"]
    sizes: Int[Tensor, "map 2"]
    verts_uvs: Float[Tensor, "coordinate 2"]
    faces_uvs: Int[Tensor, "face 3"]
    faces_map: Int[Tensor, " face"]

    def texels(
        self, hits: HitPixels, bary_coords: Float[Tensor, "image height width fragment 3"]
    ) -> Float[Tensor, "pixel fragment 3"]:
        """Return the colours at the fragments; any where there is none.

        Gradients reach images, coordinates and barycentric coordinates.
        """
        uvs = hits.interpolate(bary_coords, self.verts_uvs, self.faces_uvs).flatten(0, 1)
        shown = hits.of_faces(self.faces_map).flatten()
        rows, columns = self.sizes.index_select(0, shown.clamp(min=0)).unbind(dim=1)
        column, across = _before(uvs[:, 0], columns)
        row, down = _before(1.0 - uvs[:, 1], rows)
        most_rows, most_columns = self.maps.shape[1:3]
        here = (shown * most_rows + row) * most_columns + column
        right, below = (column + 1 < columns).long(), (row + 1 < rows).long() * most_columns
        texel = torch.stack([here, here + right, here + below, here + right + below], dim=1)
        both = across * down
        right_only, below_only = across - both, down - both
        shares = torch.stack([1.0 - across - below_only, right_only, below_only, both], dim=1)
        colours = mix_rows(self.maps.flatten(0, 2), texel, shares)
        return torch.where(shown[:, None] >= 0, colours, 1.0).unflatten(0, hits.face.shape)


def _before(
    position: Float[Tensor, " point"], size: Int[Tensor, " point"]
) -> tuple[Tensor, Tensor]:
    """Return the texel at or before positions in [0, 1], and how far beyond it they are."""
    place = position.clamp(0.0, 1.0) * (size - 1).clamp(min=0)
    before = place.detach().floor()
    return before.long(), place - before
