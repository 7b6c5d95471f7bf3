"""An animation of a search: how it finds the scene that an image shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby, pairwise

import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from air3d.inference.watching import Stage
from air3d.inspection.outline import outline, table_edges
from air3d.inspection.panels import (
    TABLE_COLOUR,
    Canvas,
    captioned,
    colour_of_kind,
    enlarge,
    panel_scale,
    sheet,
    to_picture,
)
from air3d.inspection.placement import placements_in
from air3d.models.decoders import SceneDecoder, gaussian_log_likelihood
from air3d.scene import Scenes, concatenate

SIDE = 256
"""About what each panel measures, pixels."""

FIRST, STEP, HELD, LAST = 2000, 100, 1200, 4000
"""How long frames stay, milliseconds: the first, those within a stage, its end, the last."""

COLOURS = 255
"""Of all frames together; GIF has one more, which stands for what stays as it is."""


@dataclass(frozen=True)
class Frame:
    """What is shown at once, and for how long.

    Attributes:
        stage: the name of what was done last.
        picture: the image, the render of the scene, and its outlines over the image.
        duration: milliseconds.
    """

    stage: str
    picture: PIL.Image.Image
    duration: int


def film(
    decoder: SceneDecoder, image: Float[Tensor, "3 height width"], stages: Sequence[Stage]
) -> bytes:
    """Return an animated GIF of the stages of one image's search (see :func:`frames_of`).

    Raises:
        ValueError: there are no stages.
    """
    frames = frames_of(decoder, image, stages)
    pictures = [frame.picture for frame in frames]
    # With one palette, what does not change from frame to frame does not flicker, nor take room.
    # The octree keeps rare colours, such as the outlines', which the median cut blends.
    palette = sheet(pictures, columns=1).quantize(COLOURS, PIL.Image.Quantize.FASTOCTREE)
    plain = PIL.Image.Dither.NONE
    first, *others = [each.quantize(palette=palette, dither=plain) for each in pictures]
    content = BytesIO()
    first.save(
        content,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=[frame.duration for frame in frames],
        loop=0,
    )
    return content.getvalue()


@torch.no_grad()
def frames_of(
    decoder: SceneDecoder, image: Float[Tensor, "3 height width"], stages: Sequence[Stage]
) -> list[Frame]:
    """Draw the stages of one image's search: its render, its outlines and log p(x | z) at each.

    Of stages in a row whose renders are equal the first is shown. Where a stage has several steps
    they are numbered, and pass quickly.

    Args:
        decoder: renders and scores.
        image: what was searched for.
        stages: in their order, each with the scene of this image alone.

    Raises:
        ValueError: there are no stages.
    """
    if not stages:
        raise ValueError("stages: is empty; watch a search with some effort")
    scenes = concatenate([stage.scenes for stage in stages]).near_to_far()
    shown = decoder.image(scenes)
    images = image.expand(len(scenes), -1, -1, -1)
    score = gaussian_log_likelihood(images, shown[:, None], decoder.noise_std)[:, 0].tolist()
    kept = [0, *(new for old, new in pairwise(range(len(shown))) if _differ(shown, old, new))]
    captions, names = _captions(stages), [stages[index].name for index in kept]
    return [
        Frame(
            name,
            captioned(
                _panels(decoder, image, shown[index], scenes[index : index + 1]),
                f"   {captions[index]}:  log p(x | z) = {score[index]:,.0f}",
            ),
            duration,
        )
        for index, name, duration in zip(kept, names, _durations(names), strict=True)
    ]


def _differ(shown: Float[Tensor, "stage 3 height width"], one: int, other: int) -> bool:
    return not torch.equal(shown[one], shown[other])


def _captions(stages: Sequence[Stage]) -> list[str]:
    """Name the stages, and number what is done several times in a row."""
    captions = []
    for name, group in groupby(stage.name for stage in stages):
        number = len(list(group))
        steps = (f"{name}, step {step} of {number}" for step in range(1, number + 1))
        captions += steps if number > 1 else [name]
    return captions


def _durations(names: Sequence[str]) -> list[int]:
    """Hold the last frame of each stage; the first and the last of all stay on longest."""
    held = [STEP if name == following else HELD for name, following in pairwise(names)]
    return [FIRST, *held[1:], LAST] if held else [LAST]


def _panels(
    decoder: SceneDecoder,
    image: Float[Tensor, "3 height width"],
    shown: Float[Tensor, "3 height width"],
    scene: Scenes,
) -> PIL.Image.Image:
    scale = panel_scale(*image.shape[-2:], side=SIDE)
    pictures = [
        captioned(enlarge(to_picture(image), scale), "input"),
        captioned(enlarge(to_picture(shown), scale), "render of the scene so far"),
        captioned(_outlined(decoder, image, scene, scale), "its outlines over the input"),
    ]
    return sheet(pictures, columns=len(pictures))


def _outlined(
    decoder: SceneDecoder, image: Float[Tensor, "3 height width"], scene: Scenes, scale: int
) -> PIL.Image.Image:
    """Draw objects and table."""
    canvas, table = Canvas.over(to_picture(image), scale), decoder.spec.table
    if table is not None:
        canvas.draw(table_edges(table, scene.camera), TABLE_COLOUR, 1.5)
    placements = placements_in(scene, decoder.bank.meshes)
    for identity, placement in zip(scene.present().identity[0].tolist(), placements, strict=True):
        canvas.draw(outline(placement, scene.camera), colour_of_kind(identity), 1.5)
    return canvas.finish()
