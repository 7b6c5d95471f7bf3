"""What a scene file may say: strict pydantic models of how images come about.

A scene file is YAML and describes one generative model. ``decoder`` says which of the two
kinds it is: ``scene`` (meshes before a camera) or ``glimpse`` (patches on a canvas).
Whatever a file says that is unknown, out of range or missing on disk ends in a
:class:`SceneFileError` that names the file, the key and the remedy.
"""

import math
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Vector = tuple[float, float, float]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Colour = tuple[Unit, Unit, Unit]
Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_\-]+$")]
ImageSize = tuple[Annotated[int, Field(ge=16, le=1024)], Annotated[int, Field(ge=16, le=1024)]]


class SceneFileError(ValueError):
    """A scene file that cannot be used; the message names file, key and remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Range(_Strict):
    """A uniform distribution on [low, high]."""

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self):
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        return self


class MeshType(_Strict):
    """One kind of object.

    Attributes:
        name: how results speak of it.
        mesh: mesh file, relative to the scene file; metres, its own z axis up.
        yaw_symmetry: turns about z that leave it unchanged: ``k`` for a k-fold symmetry
            (1: none), ``continuous`` for a solid of revolution. Found from the mesh if not given.
    """

    name: Name
    mesh: str
    yaw_symmetry: Annotated[int, Field(ge=1)] | Literal["continuous"] | None = None


class ObjectsSpec(_Strict):
    """How many objects there are, which ones, and where.

    Attributes:
        count: ``count[n]`` is the probability of n objects, n = 0, 1, ...
        types: the kinds, equally probable.
        x, y: where an object stands on the plane z = 0 (metres); its lowest point touches
            the plane. Objects are placed independently of one another.

    Yaw is uniform on the full circle.
    """

    count: tuple[Annotated[float, Field(ge=0.0)], ...] = Field(min_length=2)
    types: tuple[MeshType, ...] = Field(min_length=1)
    x: Range
    y: Range

    @field_validator("count")
    @classmethod
    def _sums_to_one(cls, count):
        return _normalised(count)

    @field_validator("types")
    @classmethod
    def _distinct(cls, types):
        names = [kind.name for kind in types]
        if len(set(names)) < len(names):
            raise ValueError(f"names must differ from one another, got {', '.join(names)}")
        return types


class CameraSpec(_Strict):
    """A fixed camera: ``eye`` and ``target`` in metres (world), ``field_of_view`` in radians."""

    eye: Vector
    target: Vector = (0.0, 0.0, 0.0)
    field_of_view: float = Field(gt=0.05, lt=math.pi - 0.05)

    @model_validator(mode="after")
    def _sees_the_plane(self):
        if math.dist(self.eye[:2], self.target[:2]) < 1e-6:
            raise ValueError("eye must not stand straight above or below target; move it sideways")
        if self.eye[2] <= 0.0:
            raise ValueError("eye must stand above the plane z = 0 that objects stand on")
        return self


class LightSpec(_Strict):
    """Ambient light and one directional light.

    ``direction`` points from the scene towards the light (world); ``ambient`` and ``diffuse``
    are strengths that multiply the mesh's own colour. They sum to at most 1, which keeps lit
    colours in [0, 1].
    """

    direction: Vector = (0.3, -0.5, 0.8)
    ambient: float = Field(default=0.5, ge=0.0)
    diffuse: float = Field(default=0.5, ge=0.0)

    @field_validator("direction")
    @classmethod
    def _not_zero(cls, direction):
        if math.hypot(*direction) < 1e-6:
            raise ValueError("direction must not be the zero vector")
        return direction

    @model_validator(mode="after")
    def _not_too_bright(self):
        if self.ambient + self.diffuse > 1.0 + 1e-9:
            raise ValueError(
                f"ambient ({self.ambient:g}) and diffuse ({self.diffuse:g}) must sum to at most 1, "
                "else lit colours exceed 1; lower one of them"
            )
        return self


class RenderSpec(_Strict):
    """Softness of the renderer, with PyTorch3D's meanings.

    Attributes:
        sigma: width of a face's soft edge, in squared NDC units.
        gamma: sharpness of the choice between faces at different depths.
        near, far: the depths (metres) between which gamma discriminates; geometry that
            crosses the camera's plane is dropped.
    """

    sigma: float = Field(default=1e-4, gt=0.0, le=0.1)
    gamma: float = Field(default=1e-3, gt=0.0, le=1.0)
    near: float = Field(default=1.0, gt=0.0)
    far: float = Field(default=10.0, gt=0.0)

    @model_validator(mode="after")
    def _ordered(self):
        if not self.near < self.far:
            raise ValueError(f"near ({self.near}) must be less than far ({self.far})")
        return self


class PullInSpec(_Strict):
    """How refinement sees objects that lie far from where it looks for them.

    The renderer's gradient reaches no farther than an edge's blur. So for the first ``fraction``
    of its steps refinement renders softly and compares images of few pixels, both ever sharper,
    until it goes by ``render`` and the full image. The defaults are those that brought most objects
    home (``scripts/pull_in.py``).

    Attributes:
        sigma, gamma: softness at the start; it falls geometrically to that of ``render``, and
            stays there if that is softer.
        coarsest: shorter side (pixels) of the images that are compared at the start; each of the
            image pyramid's levels doubles it. ``image_size``'s own shorter side: no pyramid.
        fraction: share of the steps; 0 goes without all of this.
    """

    sigma: float = Field(default=1e-3, gt=0.0, le=0.1)
    gamma: float = Field(default=0.1, gt=0.0, le=1.0)
    coarsest: int = Field(default=4, ge=1)
    fraction: float = Field(default=0.75, ge=0.0, le=0.9)


class SceneSpec(_Strict):
    """A generative model whose decoder is the mesh renderer.

    Attributes:
        noise_std: standard deviation of the Gaussian pixel noise, colours in [0, 1].
        folder: where mesh paths start from; set by :func:`load_scene`.
    """

    decoder: Literal["scene"]
    name: Name
    image_size: ImageSize
    objects: ObjectsSpec
    camera: CameraSpec
    light: LightSpec = LightSpec()
    background: Colour = (0.0, 0.0, 0.0)
    render: RenderSpec = RenderSpec()
    pull_in: PullInSpec = PullInSpec()
    noise_std: float = Field(default=0.02, gt=0.0, le=1.0)
    folder: Path = Field(default=Path(), exclude=True)

    @property
    def count(self) -> tuple[float, ...]:
        """Probability of n objects, n = 0, 1, ..."""
        return self.objects.count

    @property
    def num_channels(self) -> int:
        return 3

    @property
    def mesh_paths(self) -> tuple[Path, ...]:
        """The mesh files, in the order of ``objects.types``."""
        return tuple(self.folder / kind.mesh for kind in self.objects.types)


class GlyphsSpec(_Strict):
    """How digits are put on a canvas, after the generator of Pyro's AIR example.

    Attributes:
        count: ``count[n]`` is the probability of n digits.
        size_mean, size_std: a digit's 28x28 pixels are scaled by 1 / N(size_mean, size_std).
        overlap_limit: a canvas in which any pixel's sum exceeds this is drawn anew (255: digits
            may touch but not cross).
    """

    count: tuple[Annotated[float, Field(ge=0.0)], ...] = Field(min_length=2)
    size_mean: float = Field(default=1.3, ge=1.0, le=4.0)
    size_std: float = Field(default=0.1, ge=0.0, le=0.5)
    overlap_limit: int = Field(default=255, ge=255)

    @field_validator("count")
    @classmethod
    def _sums_to_one(cls, count):
        return _normalised(count)


class GlimpseSpec(_Strict):
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


AnySpec = Annotated[SceneSpec | GlimpseSpec, Field(discriminator="decoder")]
_ADAPTER = pydantic.TypeAdapter(AnySpec)


def _normalised(count: tuple[float, ...]) -> tuple[float, ...]:
    if abs(sum(count) - 1.0) > 1e-3:
        raise ValueError(f"probabilities must sum to 1, these sum to {sum(count):g}")
    if abs(sum(count) - 1.0) <= 1e-9:  # normalised already: a table read back is the same table
        return count
    return tuple(value / sum(count) for value in count)


def load_scene(path: str | Path) -> SceneSpec | GlimpseSpec:
    """Read a scene file.

    Raises:
        SceneFileError: the file is missing, is not YAML, has an unknown key, a value out of
            range, or names a mesh that is not there.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SceneFileError(
            f"{path}: cannot be read as a scene file ({error}); give the path of a YAML file"
        ) from error
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SceneFileError(f"{path}{line}: is not valid YAML ({problem})") from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise SceneFileError(f"{path}: must hold keys such as 'decoder' and 'name', {found}")
    try:
        spec = _ADAPTER.validate_python(content)
    except pydantic.ValidationError as error:
        raise SceneFileError(f"{path}: {_explain(error)}") from error
    if isinstance(spec, GlimpseSpec):
        return spec
    spec = spec.model_copy(update={"folder": path.parent})
    for index, mesh_path in enumerate(spec.mesh_paths):
        if not mesh_path.is_file():
            raise SceneFileError(
                f"{path}: objects.types.{index}.mesh: there is no file {mesh_path}; give a path "
                "relative to the scene file"
            )
    return spec


def scene_to_yaml(spec: SceneSpec | GlimpseSpec) -> str:
    """Write a spec as the text of a scene file that :func:`load_scene` reads back."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False)


def _explain(error: pydantic.ValidationError) -> str:
    """Turn pydantic's list of faults into one line, each with its key and what to do."""
    faults = []
    for fault in error.errors():
        keys = [str(key) for key in fault["loc"][1:]]  # the first is the decoder
        key = ".".join(keys) or "the file"
        if "yaw_symmetry" in keys:  # a union: one sentence for what fits neither of its kinds
            key = ".".join(keys[: keys.index("yaw_symmetry") + 1])
            faults.append(f"{key}: must be a whole number from 1, or 'continuous'")
            continue
        if fault["type"] == "extra_forbidden":
            faults.append(f"{key}: unknown key; remove it or mend its spelling")
        elif fault["type"] == "missing":
            faults.append(f"{key}: is required but missing")
        elif fault["type"].startswith("union_tag"):
            faults.append("decoder: must be 'scene' (meshes) or 'glimpse' (patches)")
        else:
            faults.append(f"{key}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(dict.fromkeys(faults))
