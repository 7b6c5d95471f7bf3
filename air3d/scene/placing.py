"""Where objects stand so that none stands in another."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from air3d.scene.soft_box import SoftBox

TRIES = 100
"""Places tried for one object before its scene is begun anew."""

RESTARTS = 20
"""Times that a scene is begun anew."""

WALL = 0.002
"""Softness (metres) of the circles that bound objects, where their places are scored."""


def place_apart(
    box: SoftBox,
    radius: Float[Tensor, "batch object"],
    gap: float | None,
    generator: torch.Generator,
) -> Float[Tensor, "batch object 2"]:
    """Draw places in a rectangle, one object after the other, each apart from those before it.

    An object's place is uniform where its circle keeps ``gap`` from the circles already there
    (random sequential adsorption); with None, uniform.

    Args:
        box: the rectangle.
        radius: of the circle that bounds each object (metres); minus infinity for an absent one,
            which is in nobody's way.
        gap: least distance between two circles (metres).
        generator: of the random numbers; the same state gives the same places.

    Raises:
        ValueError: some scene's objects found no room, however often it was begun anew.
    """
    places = box.sample(tuple(radius.shape), generator)
    if gap is None:
        return places
    rows = torch.arange(len(radius))
    for _ in range(RESTARTS):
        rows = rows[_crowded(box, places, radius, gap, rows, generator)]
        if len(rows) == 0:
            return places
        places[rows] = box.sample((len(rows), radius.shape[1]), generator)
    raise ValueError(
        f"objects.gap: in {len(rows)} of {len(radius)} scenes the objects find no room on the "
        "plane; widen objects.x and objects.y, or lower objects.count, objects.scale or objects.gap"
    )


def log_prob_apart(
    place: Float[Tensor, "batch object 2"],
    radius: Float[Tensor, "batch object"],
    other_place: Float[Tensor, "batch other 2"],
    other_radius: Float[Tensor, "batch other"],
    gap: float | None,
) -> Float[Tensor, "batch object other"]:
    """Return by how much it is less probable for two objects to be where they are together.

    0 where their circles keep the gap (or there is none to be kept), and where they do not, what
    falls as a normal of standard deviation ``WALL``: estimates come close to the truth, and a
    search must see how far they are from it. Arguments as in :func:`place_apart`. Gradients reach
    places and radii.
    """
    away = torch.linalg.vector_norm(place[:, :, None] - other_place[:, None], dim=-1)
    if gap is None:
        return torch.zeros_like(away)
    overlap = (radius[:, :, None] + other_radius[:, None] + gap - away).clamp(min=0)
    return -0.5 * (overlap / WALL).square()


def _crowded(
    box: SoftBox,
    places: Float[Tensor, "batch object 2"],
    radius: Float[Tensor, "batch object"],
    gap: float,
    rows: Int[Tensor, " row"],
    generator: torch.Generator,
) -> Tensor:
    """Move the objects of some scenes apart, in place; return which of them [row] have no room."""
    stuck = torch.zeros(len(rows), dtype=torch.bool)
    for index in range(1, radius.shape[1]):
        near = rows
        for _ in range(TRIES):
            near = near[_touches(places[near], radius[near], gap, index)]
            if len(near) == 0:
                break
            places[near, index] = box.sample((len(near),), generator)
        else:
            stuck |= torch.isin(rows, near[_touches(places[near], radius[near], gap, index)])
    return stuck


def _touches(
    places: Float[Tensor, "row object 2"],
    radius: Float[Tensor, "row object"],
    gap: float,
    index: int,
) -> Tensor:
    """Return whether object ``index`` is too near to one before it [row]."""
    away = torch.linalg.vector_norm(places[:, index, None] - places[:, :index], dim=-1)
    return (away < radius[:, index, None] + radius[:, :index] + gap).any(dim=1)
