"""The coordinates in which a search moves whole scenes: what a scene file leaves open."""

import torch
from jaxtyping import Float
from torch import Tensor

from air3d.geometry import rotation_of
from air3d.models.decoders import SceneDecoder
from air3d.scene import ScenePrior, Scenes, View, ViewPrior
from air3d.scene.view_prior import Unknown

RADIANS_PER_DIAMETER = 2.0
"""A move's turn: so much changes a picture about as much as a shift by a diameter."""

RADIANS_OF_THE_CAMERA, RADIANS_OF_THE_LIGHT = 0.5, 4.0
"""A move of the camera's or the light's angles: pictures hardly change with the latter."""


class Moves:
    """Move scenes by numbers of like effect, around where they start.

    Of each object the shift along the plane (x, y: diameters of the decoder's largest mesh), the
    turn about its z, or the vector of the turn (x, y, z of its own axes) where objects turn freely
    (``RADIANS_PER_DIAMETER`` each), and, where the scene file leaves them open,
    the scale (1 doubles it) and the colour (1 each channel); of the view what is open: angles
    (``RADIANS_OF_THE_CAMERA`` or ``RADIANS_OF_THE_LIGHT`` each) and other numbers (half their
    range each). Scale, colour and
    view stay within the prior's ranges, circular angles apart; an object of another scale still
    stands on the plane.

    Attributes:
        start: the scenes at moves of 0.
        num_objects: N.
        per_object: coordinates of each object.
        size: of a move: ``num_objects * per_object``, object by object, then the view's.
        unit: how far (metres) a shift of 1 takes an object.

    Args:
        decoder: its scene file says what is open.
        start: scenes to start from; no gradients reach them.
    """

    def __init__(self, decoder: SceneDecoder, start: Scenes):
        self.start = start
        self.num_objects = start.identity.shape[1]
        objects = decoder.spec.objects
        self._scale, self._colour = objects.scale, objects.colour
        self._num_turns = 3 if objects.rotation == "free" else 1
        looks = (self._scale is not None) + 3 * (self._colour is not None)
        self.per_object = 2 + self._num_turns + looks
        self._view = ViewPrior(decoder.spec)
        self._viewpoint = self._view.coordinates(View(start.camera, start.light))
        self.size = self.num_objects * self.per_object + len(self._view.unknowns)
        self.unit = max(mesh.diameter for mesh in decoder.bank.meshes)
        heights = ScenePrior(decoder.spec, decoder.bank.meshes).rest_height
        self._height = heights.to(start.position)[start.identity]

    def zero(self) -> Float[Tensor, "batch coordinate"]:
        """Return no move."""
        return self.start.position.new_zeros(len(self.start), self.size)

    def at(self, moves: Float[Tensor, "batch coordinate"]) -> Scenes:
        """Return the moved scenes; gradients reach the moves."""
        split = self.num_objects * self.per_object
        each = moves[:, :split].unflatten(1, (self.num_objects, self.per_object))
        shift, turn, looks = each.tensor_split((2, 2 + self._num_turns), dim=-1)
        scale, colour = self._appearance(looks)
        xy = self.start.position[..., :2] + self.unit * shift
        lift = self._height * (scale - self.start.scale)
        height = self.start.position[..., 2] + lift
        view = self._viewed(moves[:, split:])
        return Scenes(
            identity=self.start.identity,
            position=torch.cat([xy, height[..., None]], dim=-1),
            rotation=self.start.rotation @ self._turned(turn),
            scale=scale,
            colour=colour,
            camera=view.camera,
            light=view.light,
        )

    def _turned(self, turn: Float[Tensor, "batch object axis"]) -> Tensor:
        """Return the turns' rotations; those of upright objects are about z."""
        vector = torch.nn.functional.pad(turn, (3 - self._num_turns, 0))
        return rotation_of(RADIANS_PER_DIAMETER * vector)

    def _appearance(self, moves: Float[Tensor, "batch object appearance"]) -> tuple[Tensor, Tensor]:
        scale, colour = self.start.scale, self.start.colour
        if self._scale is not None:
            scale = (scale + moves[..., 0]).clamp(self._scale.low, self._scale.high)
        if self._colour is not None:
            colour = (colour + moves[..., -3:]).clamp(self._colour.low, self._colour.high)
        return scale, colour

    def _viewed(self, moves: Float[Tensor, "batch unknown"]) -> View:
        unknowns = self._view.unknowns
        if not unknowns:
            return View(self.start.camera, self.start.light)
        columns, start = [], self._viewpoint.unbind(1)
        for unknown, at, move in zip(unknowns, start, moves.unbind(1), strict=True):
            low, high = unknown.range.low, unknown.range.high
            value = at + _unit(unknown) * move
            columns.append(value if unknown.circular else value.clamp(low, high))
        return self._view.view(torch.stack(columns, dim=1))


def _unit(unknown: Unknown) -> float:
    """Return how far a move of 1 takes a number of the view."""
    if not unknown.name.endswith(("azimuth", "elevation")):
        return 0.5 * (unknown.range.high - unknown.range.low)
    return RADIANS_OF_THE_CAMERA if unknown.name.startswith("camera") else RADIANS_OF_THE_LIGHT
