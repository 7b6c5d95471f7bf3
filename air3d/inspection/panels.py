"""Pictures of what was inferred, drawn over the image it was inferred from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jaxtyping import Float
from torch import Tensor

from air3d.estimate import ObjectEstimate, PatchEstimate, SceneEstimate
from air3d.inspection.outline import Lines, axes, outline, table_edges
from air3d.inspection.placement import percent, placements_of
from air3d.scene import Mesh
from air3d.scene.spec import TableSpec

OBJECT_COLOURS = (
    "#22d3ee",
    "#fbbf24",
    "#f472b6",
    "#a3e635",
    "#c4b5fd",
    "#fb923c",
    "#60a5fa",
    "#fca5a5",
)
AXIS_COLOURS = ("#ef4444", "#22c55e", "#3b82f6")
TABLE_COLOUR = "#e5e7eb"
INK, PAPER = "#1f2937", "#ffffff"
PANEL_SIDE = 384
# Lines are drawn at twice the size and shrunk, which smooths them.
FINENESS = 2


def colour_of_kind(identity: int) -> str:
    """Return the colour that outlines of one kind of object have in all pictures."""
    return OBJECT_COLOURS[identity % len(OBJECT_COLOURS)]


def to_picture(image: Float[Tensor, "channel height width"]) -> PIL.Image.Image:
    """Turn an image of 1 or 3 channels with values in [0, 1] into a PIL image."""
    array = np.round(255 * image.detach().cpu().clamp(0, 1).numpy()).astype(np.uint8)
    return PIL.Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))


def enlarge(picture: PIL.Image.Image, scale: int) -> PIL.Image.Image:
    """Make each pixel a square of ``scale`` x ``scale`` pixels."""
    size = (scale * picture.width, scale * picture.height)
    return picture.convert("RGB").resize(size, PIL.Image.Resampling.NEAREST)


def panel_scale(height: int, width: int, *, side: int = PANEL_SIDE) -> int:
    """Return the whole factor by which an image becomes about a panel's size."""
    return max(1, round(side / max(height, width)))


def overlay(
    image: Float[Tensor, "channel height width"],
    estimate: SceneEstimate,
    meshes: Sequence[Mesh] = (),
    *,
    table: TableSpec | None = None,
    scale: int | None = None,
) -> PIL.Image.Image:
    """Draw what was inferred over its image, enlarged ``scale`` times.

    A 3D object is drawn as its outline, its visible creases and its axes, with its name and
    probability, in the colour of its kind; a 2D patch as its box and probability. A ``table`` is
    drawn as its edges seen by the inferred camera. A point (u, v) of the image comes to lie at
    ``scale * (u, v)``.
    """
    scale = scale or panel_scale(*image.shape[-2:])
    canvas = Canvas.over(to_picture(image), scale)
    if estimate.camera is None:
        for index, found in enumerate(estimate.objects):
            if isinstance(found, PatchEstimate):
                _draw_patch(canvas, found, OBJECT_COLOURS[index % len(OBJECT_COLOURS)])
        return canvas.finish()
    if table is not None:
        canvas.draw(table_edges(table, estimate.camera), TABLE_COLOUR, 1.5)
    kinds = (found.identity for found in estimate.objects if isinstance(found, ObjectEstimate))
    for kind, placement in zip(kinds, placements_of(estimate, meshes), strict=True):
        colour = colour_of_kind(kind)
        lines = outline(placement, estimate.camera)
        for axis, line in axes(placement, estimate.camera):
            canvas.draw(line, AXIS_COLOURS[axis], 2.0)
        canvas.draw(lines, colour, 2.5)
        if len(lines):
            canvas.label(lines.box, placement.label, colour)
    return canvas.finish()


def triptych(
    image: Float[Tensor, "channel height width"],
    estimate: SceneEstimate,
    meshes: Sequence[Mesh] = (),
    table: TableSpec | None = None,
    *more: PIL.Image.Image,
) -> PIL.Image.Image:
    """Show input, reconstruction, overlay and ``more`` side by side, with captions."""
    scale = panel_scale(*image.shape[-2:])
    count = f"inferred: {count_text(estimate)}"
    pictures = [
        captioned(enlarge(to_picture(image), scale), "input"),
        captioned(enlarge(to_picture(estimate.reconstruction), scale), "reconstruction"),
        captioned(overlay(image, estimate, meshes, table=table, scale=scale), count),
    ]
    return sheet([*pictures, *more], columns=3 + len(more))


def count_text(estimate: SceneEstimate) -> str:
    """Say how many objects there are and how sure that is."""
    noun = "object" if estimate.count == 1 else "objects"
    probability = percent(estimate.count_probability[estimate.count])
    relation = "" if probability.startswith(">") else "= "
    return f"{estimate.count} {noun}, p {relation}{probability}"


def captioned(picture: PIL.Image.Image, caption: str) -> PIL.Image.Image:
    """Put a line of text above a picture."""
    font = PIL.ImageFont.load_default(15)
    strip = 26
    framed = PIL.Image.new("RGB", (picture.width, picture.height + strip), PAPER)
    framed.paste(picture, (0, strip))
    PIL.ImageDraw.Draw(framed).text((1, 4), caption, fill=INK, font=font)
    return framed


def sheet(pictures: Sequence[PIL.Image.Image], *, columns: int, gap: int = 12) -> PIL.Image.Image:
    """Lay pictures out in rows, on white."""
    if not pictures:
        raise ValueError("sheet: pictures is empty; give at least one picture")
    width = max(picture.width for picture in pictures) + gap
    height = max(picture.height for picture in pictures) + gap
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    page = PIL.Image.new("RGB", (columns * width + gap, rows * height + gap), PAPER)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        page.paste(picture, (gap + column * width, gap + row * height))
    return page


@dataclass(frozen=True)
class Canvas:
    """A picture that is drawn on in the coordinates of the image below it."""

    picture: PIL.Image.Image
    scale: int

    @classmethod
    def over(cls, picture: PIL.Image.Image, scale: int) -> "Canvas":
        return cls(enlarge(picture, scale * FINENESS), scale)

    def draw(self, lines: Lines, colour: str, width: float) -> None:
        """Draw lines; ``width`` is in pixels of the finished picture."""
        pen = PIL.ImageDraw.Draw(self.picture)
        for (u0, v0), (u1, v1) in lines.ends * (self.scale * FINENESS):
            pen.line((u0, v0, u1, v1), fill=colour, width=round(width * FINENESS), joint="curve")

    def label(self, box: tuple[float, float, float, float], text: str, colour: str) -> None:
        """Write text above a box (left, top, right, bottom), or below it where there is no room."""
        pen = PIL.ImageDraw.Draw(self.picture)
        font = PIL.ImageFont.load_default(16 * FINENESS)
        left, top, right, bottom = (side * self.scale * FINENESS for side in box)
        text_width, text_height = pen.textlength(text, font=font), 22 * FINENESS
        pad = 5 * FINENESS
        x = min(max(left, 0.0), max(0.0, self.picture.width - text_width - 2 * pad))
        y = top - text_height - pad
        if y < 0:
            y = min(bottom + pad, self.picture.height - text_height)
        corners = (x, y, x + text_width + 2 * pad, y + text_height)
        pen.rounded_rectangle(corners, radius=4 * FINENESS, fill=INK)
        pen.text((x + pad, y + 1.5 * FINENESS), text, fill=colour, font=font)

    def finish(self) -> PIL.Image.Image:
        size = (self.picture.width // FINENESS, self.picture.height // FINENESS)
        return self.picture.resize(size, PIL.Image.Resampling.BOX)


def _draw_patch(canvas: Canvas, patch: PatchEstimate, colour: str) -> None:
    left, top, right, bottom = box = patch_box(patch)
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    canvas.draw(Lines(np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)), colour, 2.0)
    canvas.label(box, percent(patch.presence_probability), colour)


def patch_box(patch: PatchEstimate) -> tuple[float, float, float, float]:
    """Return a patch's left, top, right, bottom, in pixels."""
    (u, v), half = patch.centre, 0.5 * patch.side
    return u - half, v - half, u + half, v + half
