"""What a guide has found so far, rendered, and what is left of the image beside it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.models.rows import rows_of
from air3d.render import Layers, Painting, paint
from air3d.scene import View


@dataclass(frozen=True)
class Kept:
    """What some of the images looked like before more was painted.

    Attributes:
        row: which images.
        painted: how many objects they had.
        rgb: their pictures.
    """

    row: Int[Tensor, " row"]
    painted: Int[Tensor, " row"]
    rgb: Float[Tensor, "row height width 3"]


@dataclass(frozen=True)
class Canvas:
    """What was found in each of B images; :meth:`add` and :meth:`keep` change it.

    Attributes:
        images: that are looked at, with the channels last in memory, as the paintings have them:
            of mixed layouts a difference takes five times as long.
        view: from where, and under which light, the guide believes.
        painting: the objects that were found; where the decoder renders.
        painted: how many they are [B]; on the CPU, as are the rows of what is kept.
        kept: earlier pictures.
    """

    images: Float[Tensor, "batch 3 height width"]
    view: View
    painting: Painting
    painted: Int[Tensor, " batch"]
    kept: list[Kept]

    def add(self, layers: Layers, row: Int[Tensor, " row"]) -> None:
        """Paint one object more on some of the images, [row, 1, height, width]."""
        row = row.cpu()
        paint(self.painting, layers, row)
        self.painted[row] += 1

    @torch.no_grad()
    def add_in_turn(
        self, layers: Layers, count: Int[Tensor, " batch"], looks: int
    ) -> Float[Tensor, "look 3 height width"]:
        """Paint each image's objects one by one, and return what is left of it before each.

        Args:
            layers: the objects, [object, 1, height, width]: the first ones of all images that have
                any, image by image, then the second ones, and so on; those that a look follows.
            count: how many each image has.
            looks: how many looks there are at most; the last one sees what is left in the end
                where an image has fewer objects.

        Returns:
            What the first looks see, of all images, then what the second ones see, of those that
            have an object, and so on.
        """
        reached = [(count >= number).nonzero()[:, 0] for number in range(looks)]
        left_over = [self.left_over(reached[0])]
        for row, added in zip(
            reached[1:], layers.split([len(row) for row in reached[1:]]), strict=True
        ):
            self.add(added, row)
            left_over.append(self.left_over(row))
        return torch.cat(left_over)

    def keep(self, row: Int[Tensor, " row"]) -> None:
        """Keep the pictures of some of the images as they are now."""
        row = row.cpu()
        self.kept.append(Kept(row, self.painted[row], self._pictures(row)))

    @torch.no_grad()
    def left_over(self, row: Int[Tensor, " row"]) -> Float[Tensor, "row 3 height width"]:
        """Return what is left of some of the images beside what is painted; without gradients."""
        painted = self._pictures(row).to(self.images.device)
        return rows_of(self.images, row).sub_(painted.movedim(-1, 1))

    def _pictures(self, row: Int[Tensor, " row"]) -> Float[Tensor, "row height width 3"]:
        """Return some of the paintings, by rows on whichever device."""
        return self.painting.rgb.index_select(0, row.to(self.painting.rgb.device))

    def shown_with(self, count: Int[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """Return the pictures with each image's first objects alone.

        Raises:
            ValueError: an image was never painted with so many, or that picture was not kept.
        """
        count = count.cpu()
        rgb, found = self.painting.rgb.clone(), self.painted == count
        for kept in self.kept:
            wanted = kept.painted == count[kept.row]
            rgb[kept.row[wanted].to(rgb.device)] = kept.rgb[wanted.to(rgb.device)]
            found[kept.row[wanted]] = True
        if not found.all():
            missing = found.logical_not().nonzero()[:, 0].tolist()
            raise ValueError(f"shown_with: images {missing} have no picture with so many objects")
        return rgb.movedim(-1, 1).to(self.images.device)
