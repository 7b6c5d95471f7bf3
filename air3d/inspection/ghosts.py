"""What else an image may show: draws from the posterior, as outlines that shine through."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageColor
import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import Camera
from air3d.inference.explanations import draw_of
from air3d.inspection.outline import outline
from air3d.inspection.panels import OBJECT_COLOURS, Canvas, enlarge, panel_scale, to_picture
from air3d.inspection.placement import Placement, placements_in
from air3d.models import Air
from air3d.randomness import fixed_draws
from air3d.scene import Mesh, Scenes

DIMMED = 0.6
"""Share of its brightness that the image keeps below the ghosts."""


def draw_scenes(
    model: Air, image: Float[Tensor, "channel height width"], number: int, *, seed: int = 0
) -> Scenes:
    """Draw scenes from a 3D model's q(z | x): counts, identities, poses, looks, and their views.

    The same seed gives the same scenes, and nobody else's random numbers change.

    Raises:
        ValueError: the model is a 2D one.
    """
    with torch.no_grad(), fixed_draws(seed, image.device):
        unrolled = model.guide.sample(image.expand(number, *image.shape))
        if unrolled.seen is None:
            raise ValueError(f"draw_scenes: {model.spec.name} is a 2D model; give a 3D one")
        return draw_of(unrolled).scenes


def ghosts(
    image: Float[Tensor, "channel height width"],
    scenes: Scenes,
    meshes: Sequence[Mesh],
    *,
    scale: int | None = None,
) -> PIL.Image.Image:
    """Draw the outlines of many scenes over one image, each kind of object in a colour of its own.

    A line is the more opaque the more of the scenes have it: as the square root of their share,
    so that one scene of a hundred can still be seen.
    """
    scale = scale or panel_scale(*image.shape[-2:])
    backdrop = np.asarray(enlarge(to_picture(image), scale), float) / 255.0
    shares = np.zeros((len(OBJECT_COLOURS), *backdrop.shape[:2]))
    for row in range(len(scenes)):
        scene = scenes[row : row + 1].present()
        identities, placements = scene.identity[0].tolist(), placements_in(scene, meshes)
        for identity, placement in zip(identities, placements, strict=True):
            kind = identity % len(OBJECT_COLOURS)
            shares[kind] += _traced(placement, scene.camera, scale) / len(scenes)
    total = shares.sum(axis=0)[..., None]
    palette = np.array([PIL.ImageColor.getrgb(colour) for colour in OBJECT_COLOURS]) / 255.0
    ink = np.einsum("khw,kc->hwc", shares, palette) / np.maximum(total, 1e-9)
    opacity = np.sqrt(total.clip(0.0, 1.0))
    mixed = (1.0 - opacity) * DIMMED * backdrop + opacity * ink
    return PIL.Image.fromarray(np.round(255.0 * mixed).astype(np.uint8))


def _traced(
    placement: Placement, camera: Camera, scale: int
) -> Float[np.ndarray, "large_height large_width"]:
    """Return which share of each pixel one object's outline covers."""
    height, width = camera.image_size
    canvas = Canvas.over(PIL.Image.new("L", (width, height)), scale)
    canvas.draw(outline(placement, camera), "white", 2.0)
    return np.asarray(canvas.finish().convert("L"), float) / 255.0
