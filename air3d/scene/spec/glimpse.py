"""A scene file whose images show patches on a canvas."""

from typing import Literal

from pydantic import Field, field_validator

from air3d.scene.spec.base import Count, ImageSize, Name, Strict, normalised


class GlyphsSpec(Strict):
    """How digits are put on a canvas, after the generator of Pyro's AIR example.

    Attributes:
        count: ``count[n]`` is the probability of n digits.
        size_mean, size_std: a digit's 28x28 pixels are scaled by 1 / N(size_mean, size_std).
        overlap_limit: a canvas in which any pixel's sum exceeds this is drawn anew (255: digits
            may touch but not cross).
    """

    count: Count
    size_mean: float = Field(default=1.3, ge=1.0, le=4.0)
    size_std: float = Field(default=0.1, ge=0.0, le=0.5)
    overlap_limit: int = Field(default=255, ge=255)

    @field_validator("count")
    @classmethod
    def _sums_to_one(cls, count):
        return normalised(count)


class GlimpseSpec(Strict):
    """A generative model whose decoder paints patches on a canvas (grey, values in [0, 1])."""

    decoder: Literal["glimpse"]
    name: Name
    image_size: ImageSize
    glyphs: GlyphsSpec
    noise_std: float = Field(default=0.3, gt=0.0, le=1.0)

    @property
    def count(self) -> tuple[float, ...]:
        """Probability of n digits, n = 0, 1, ..."""
        return self.glyphs.count

    @property
    def num_channels(self) -> int:
        return 1
