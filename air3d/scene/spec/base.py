"""What every part of a scene file shares: strictness, ranges, and the common kinds of value."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Vector = tuple[float, float, float]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Colour = tuple[Unit, Unit, Unit]
Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_\-]+$")]
ImageSize = tuple[Annotated[int, Field(ge=16, le=1024)], Annotated[int, Field(ge=16, le=1024)]]
Count = Annotated[tuple[Annotated[float, Field(ge=0.0)], ...], Field(min_length=2)]


class Strict(BaseModel):
    """A part of a scene file: unknown keys and infinite numbers are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Range(Strict):
    """A uniform distribution on [low, high]."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self):
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        return self


class UnitRange(Range):
    """A uniform distribution within [0, 1]."""

    low: Unit
    high: Unit


class PositiveRange(Range):
    """A uniform distribution on positive numbers."""

    low: Annotated[float, Field(gt=0.0)]


NUMBER, RANGE = "number", "range"


def _number_or_range(value: Any) -> str:
    return RANGE if isinstance(value, dict | Range) else NUMBER


Angle = Annotated[
    Annotated[float, Tag(NUMBER)] | Annotated[Range, Tag(RANGE)], Discriminator(_number_or_range)
]
"""Radians: a number, or a range to draw one from."""

Length = Annotated[
    Annotated[float, Field(gt=0.0), Tag(NUMBER)] | Annotated[PositiveRange, Tag(RANGE)],
    Discriminator(_number_or_range),
]
"""Metres, above 0: a number, or a range to draw one from."""

Strength = Annotated[
    Annotated[Unit, Tag(NUMBER)] | Annotated[UnitRange, Tag(RANGE)], Discriminator(_number_or_range)
]
"""Within [0, 1]: a number, or a range to draw one from."""


def lowest(value: float | Range) -> float:
    """Return the smallest value that a number or a range allows."""
    return value.low if isinstance(value, Range) else value


def highest(value: float | Range) -> float:
    """Return the largest value that a number or a range allows."""
    return value.high if isinstance(value, Range) else value


def normalised(count: tuple[float, ...]) -> tuple[float, ...]:
    """Return a table of probabilities that sums to 1.

    Raises:
        ValueError: its sum is not near 1.
    """
    if abs(sum(count) - 1.0) > 1e-3:
        raise ValueError(f"probabilities must sum to 1, these sum to {sum(count):g}")
    if abs(sum(count) - 1.0) <= 1e-9:  # normalised already: a table read back is the same table
        return count
    return tuple(value / sum(count) for value in count)
