"""Light: ambient, and one lamp that is far away or at a place."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

Strength = float | Sequence[float] | Tensor


@dataclass(frozen=True)
class Light:
    """Ambient light and one lamp, one pair per scene or one for all.

    A surface of colour c, with unit normal n, seen under the unit vectors l to the lamp and v to
    the eye, shows c (ambient + diffuse max(0, n . l)) + specular max(0, r . v)^shininess, where r
    is l mirrored at n (Phong; the terms are PyTorch3D's). Gradients reach every field.

    Attributes:
        source: the lamp in homogeneous world coordinates: (x, y, z, 0) is the direction towards a
            lamp far away, (x, y, z, 1) the place of one nearby (metres).
        ambient, diffuse, specular: strengths per colour channel.

    Raises:
        ValueError: the fields hold different numbers of rows.
    """

    source: Float[Tensor, "light 4"]
    ambient: Float[Tensor, "light 3"]
    diffuse: Float[Tensor, "light 3"]
    specular: Float[Tensor, "light 3"]

    def __post_init__(self) -> None:
        rows = {name: len(field) for name, field in vars(self).items()}
        if len(set(rows.values())) > 1:
            raise ValueError(
                "Light: source, ambient, diffuse and specular must hold as many rows, got "
                f"{', '.join(map(str, rows.values()))}; repeat the single ones by .expand()"
            )

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice | Shaped[Tensor, " row"]) -> "Light":
        """Return the lights of some of the scenes."""
        parts = (self.source, self.ambient, self.diffuse, self.specular)
        return Light(*(field[rows] for field in parts))

    @classmethod
    def concatenate(cls, several: Sequence["Light"]) -> "Light":
        """Put lights into one batch; at least one."""
        names = (field.name for field in fields(cls))
        return cls(*(torch.cat([getattr(light, name) for light in several]) for name in names))

    def expand(self, batch: int) -> "Light":
        """Repeat a single light ``batch`` times, without a copy."""
        parts = (self.source, self.ambient, self.diffuse, self.specular)
        return Light(*(field.expand(batch, -1) for field in parts))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        """Return the same light on another device or in another precision."""
        parts = (self.source, self.ambient, self.diffuse, self.specular)
        return Light(*(field.to(device=device, dtype=dtype) for field in parts))


def ambient_light(strength: Strength = 1.0) -> Light:
    """Return light that comes from everywhere: colours show as they are at strength 1."""
    return directional_light((0.0, 0.0, 1.0), ambient=strength, diffuse=0.0)


def directional_light(
    direction: Sequence[float] | Float[Tensor, "*light 3"],
    *,
    ambient: Strength = 0.5,
    diffuse: Strength = 0.5,
    specular: Strength = 0.0,
) -> Light:
    """Return a lamp far away; ``direction`` points from the scene towards it (any length).

    Strengths are numbers, colours [3], or tensors [light, 3] whose gradients are kept.
    """
    return _light(direction, 0.0, (ambient, diffuse, specular))


def point_light(
    location: Sequence[float] | Float[Tensor, "*light 3"],
    *,
    ambient: Strength = 0.5,
    diffuse: Strength = 0.5,
    specular: Strength = 0.0,
) -> Light:
    """Return a lamp at ``location`` (world, metres); it does not weaken with distance."""
    return _light(location, 1.0, (ambient, diffuse, specular))


def _light(
    place: Sequence[float] | Tensor, weight: float, strengths: tuple[Strength, Strength, Strength]
) -> Light:
    xyz = torch.as_tensor(place, dtype=None if isinstance(place, Tensor) else torch.float32)
    xyz = torch.atleast_2d(xyz)
    source = torch.cat([xyz, torch.full_like(xyz[:, :1], weight)], dim=1)
    colours = [torch.atleast_2d(torch.as_tensor(s).to(xyz)) for s in strengths]
    batch = max(len(part) for part in (source, *colours))
    return Light(source.expand(batch, 4), *(colour.expand(batch, 3) for colour in colours))
