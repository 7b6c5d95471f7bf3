"""What a scene file says of its objects."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from air3d.scene.spec.base import Count, Name, PositiveRange, Range, Strict, UnitRange, normalised


class MeshType(Strict):
    """One kind of object.

    Attributes:
        name: how results speak of it.
        mesh: mesh file, relative to the scene file; metres, its own z axis up.
        yaw_symmetry: turns about z that leave it unchanged: ``k`` for a k-fold symmetry
            (1: none), ``continuous`` for a solid of revolution. Found from the mesh if not given,
            and not to be given where objects turn freely: there all their symmetries are found.
    """

    name: Name
    mesh: str
    yaw_symmetry: Annotated[int, Field(ge=1)] | Literal["continuous"] | None = None


class ObjectsSpec(Strict):
    """How many objects there are, which ones, where, how large, and of what colour.

    Attributes:
        count: ``count[n]`` is the probability of n objects, n = 0, 1, ...
        types: the kinds, equally probable.
        repeats: whether a scene may show a kind more than once.
        x, y: where an object is along the plane z = 0 (metres).
        rotation: ``upright``: objects stand on the plane, their lowest points touching it, turned
            about z uniformly on the full circle. ``free``: they hover, turned about any axis,
            uniformly over all rotations; the balls that bound them touch the plane.
        gap: least distance (metres) between the upright cylinders that bound two objects (the
            balls, where they turn freely). Each object is placed where it keeps it from those
            before it. None: objects are placed independently of one another, and may stand in each
            other.
        scale: range of the factor by which a mesh's size is multiplied; None: 1.
        colour: range of each channel of a colour that multiplies the mesh's own; None: white.
    """

    count: Count
    types: tuple[MeshType, ...] = Field(min_length=1)
    repeats: bool = True
    x: Range
    y: Range
    rotation: Literal["upright", "free"] = "upright"
    gap: float | None = Field(default=None, ge=0.0)
    scale: PositiveRange | None = None
    colour: UnitRange | None = None

    @field_validator("count")
    @classmethod
    def _sums_to_one(cls, count):
        return normalised(count)

    @field_validator("types")
    @classmethod
    def _distinct(cls, types):
        names = [kind.name for kind in types]
        if len(set(names)) < len(names):
            raise ValueError(f"names must differ from one another, got {', '.join(names)}")
        return types

    @model_validator(mode="after")
    def _finds_free_symmetries(self):
        stated = [kind.name for kind in self.types if kind.yaw_symmetry is not None]
        if self.rotation == "free" and stated:
            raise ValueError(
                f"yaw_symmetry of {stated[0]} means nothing where objects turn freely; remove it, "
                "or set rotation: upright"
            )
        return self

    @model_validator(mode="after")
    def _enough_kinds(self):
        most = len(self.count) - 1
        if not self.repeats and most > len(self.types):
            raise ValueError(
                f"count goes to {most}, but without repeats {len(self.types)} types make at most "
                f"{len(self.types)} objects; shorten count, or set repeats: true"
            )
        return self
