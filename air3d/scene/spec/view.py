"""What a scene file says of the camera, the light and the table."""

import math

from pydantic import Field, field_validator, model_validator

from air3d.scene.spec.base import (
    Angle,
    Colour,
    Length,
    Range,
    Strength,
    Strict,
    Vector,
    highest,
    lowest,
)

DIRECTION = (0.3, -0.5, 0.8)


class CameraSpec(Strict):
    """Where the camera is: at a known place, or on an orbit, of which images must tell the ranges.

    Give ``eye``, or all of ``azimuth``, ``elevation`` and ``distance``; each of these is a number,
    or a range from which it is drawn anew for every scene.

    Attributes:
        eye: place (metres, world) of a known camera.
        azimuth: direction of the eye from the target about the world's z, radians, from x towards
            y; at most the full circle.
        elevation: of the eye above the target's horizon, radians, above 0 and below pi / 2.
        distance: between eye and target, metres.
        target: what the camera looks at (metres, world).
        field_of_view: of the image's shorter side, radians.
    """

    eye: Vector | None = None
    azimuth: Angle | None = None
    elevation: Angle | None = None
    distance: Length | None = None
    target: Vector = (0.0, 0.0, 0.0)
    field_of_view: float = Field(gt=0.05, lt=math.pi - 0.05)

    @property
    def known(self) -> bool:
        """Whether all images are seen from one known place."""
        return not any(
            isinstance(number, Range) for number in (self.azimuth, self.elevation, self.distance)
        )

    @model_validator(mode="after")
    def _one_way(self):
        orbit = (self.azimuth, self.elevation, self.distance)
        given = [number is not None for number in orbit]
        if self.eye is not None and any(given):
            raise ValueError("give eye, or azimuth, elevation and distance, not both")
        if self.eye is None and not all(given):
            raise ValueError("give eye, or all of azimuth, elevation and distance")
        return self

    @model_validator(mode="after")
    def _sees_the_plane(self):
        if self.eye is None:
            return self
        if math.dist(self.eye[:2], self.target[:2]) < 1e-6:
            raise ValueError("eye must not stand straight above or below target; move it sideways")
        if self.eye[2] <= 0.0:
            raise ValueError("eye must stand above the plane z = 0 that objects stand on")
        return self

    @field_validator("azimuth")
    @classmethod
    def _within_the_circle(cls, azimuth):
        if azimuth is not None and highest(azimuth) - lowest(azimuth) > 2 * math.pi + 1e-6:
            raise ValueError("azimuth must span at most the full circle, 2 pi radians")
        return azimuth

    @field_validator("elevation")
    @classmethod
    def _above_the_plane(cls, elevation):
        if elevation is None:
            return elevation
        if not 0.0 < lowest(elevation) <= highest(elevation) < 0.5 * math.pi:
            raise ValueError("elevation must lie above 0 and below pi / 2 = 1.5708 (radians)")
        return elevation


class LightSpec(Strict):
    """Ambient light and one lamp far away.

    The strengths multiply the objects' own colours. They sum to at most 1, which keeps lit colours
    in [0, 1]. What is a range is drawn anew for every scene.

    Attributes:
        direction: from the scene towards a lamp at a known place (world); or
        azimuth, elevation: of that direction, radians, as the camera's.
        ambient, diffuse: strengths.
    """

    direction: Vector | None = None
    azimuth: Range | None = None
    elevation: Range | None = None
    ambient: Strength = 0.5
    diffuse: Strength = 0.5

    @property
    def known(self) -> bool:
        """Whether all images are lit in the same way."""
        return self.azimuth is None and not any(
            isinstance(strength, Range) for strength in (self.ambient, self.diffuse)
        )

    @field_validator("direction")
    @classmethod
    def _not_zero(cls, direction):
        if direction is not None and math.hypot(*direction) < 1e-6:
            raise ValueError("direction must not be the zero vector")
        return direction

    @model_validator(mode="before")
    @classmethod
    def _from_somewhere(cls, content):
        """Take the usual direction where neither way of giving one is used."""
        if isinstance(content, dict) and not {"direction", "azimuth", "elevation"} & set(content):
            return {**content, "direction": DIRECTION}
        return content

    @model_validator(mode="after")
    def _one_way(self):
        angles = (self.azimuth, self.elevation)
        if self.direction is not None and any(angles):
            raise ValueError("give direction, or azimuth and elevation, not both")
        if self.direction is None and not all(angles):
            raise ValueError("give direction, or both azimuth and elevation")
        return self

    @model_validator(mode="after")
    def _not_too_bright(self):
        ambient, diffuse = highest(self.ambient), highest(self.diffuse)
        if ambient + diffuse > 1.0 + 1e-9:
            raise ValueError(
                f"ambient ({ambient:g}) and diffuse ({diffuse:g}) must sum to at most 1, "
                "else lit colours exceed 1; lower one of them"
            )
        return self


class TableSpec(Strict):
    """A rectangle of the plane z = 0 that objects stand on, of one colour or a checkerboard.

    Attributes:
        centre, half_extents: of the rectangle, metres (x, y).
        colour: of the table, or of the checkerboard's square that reaches from the world's origin
            to (square, square).
        second_colour: of the neighbouring squares.
        square: side of the squares, metres. One larger than the table leaves four fields that
            meet at the origin: with ``centre`` elsewhere they tell the camera's azimuth.
    """

    centre: tuple[float, float] = (0.0, 0.0)
    half_extents: tuple[float, float]
    colour: Colour
    second_colour: Colour | None = None
    square: float = Field(default=1.0, gt=0.0)

    @field_validator("half_extents")
    @classmethod
    def _positive(cls, half_extents):
        if not min(half_extents) > 0.0:
            raise ValueError(f"half_extents must be positive lengths, got {half_extents}")
        return half_extents
