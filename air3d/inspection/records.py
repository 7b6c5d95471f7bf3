"""What inference found in one image, as JSON on disk.

A record holds all of a :class:`~air3d.estimate.SceneEstimate` but the reconstructed picture,
and the mesh files' paths and the table, so that it can be looked at without the checkpoint it came
from. Files of before objects had a scale and a colour say nothing of these, nor of light and table:
they are read as objects of their meshes' size and colours.
``scripts/infer.py`` describes the keys for its users.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from air3d.estimate import ObjectEstimate, PatchEstimate, SceneEstimate
from air3d.geometry import Camera
from air3d.inference import Effort
from air3d.inspection.exhibit import Exhibit
from air3d.inspection.panels import patch_box
from air3d.inspection.placement import WHITE, Placement, percent
from air3d.inspection.turns import yaw_of
from air3d.scene import GlimpseSpec, Light, Mesh, SceneSpec, load_mesh
from air3d.scene.spec import TableSpec

FORMAT = "air3d.estimate/1"
Row3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Matrix4 = tuple[Row4, Row4, Row4, Row4]
Probability = Annotated[float, Field(ge=0.0, le=1.0 + 1e-6)]


class RecordError(ValueError):
    """A record that cannot be used; the message names the file and the remedy."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ObjectRecord(_Strict):
    """One object in 3D; metres, radians, matrices by rows.

    Of an object that turns freely ``yaw`` is None, and so is ``yaw_symmetry``, but of a ball.
    """

    name: str
    identity: int
    identity_probability: Probability
    presence_probability: Probability
    object_to_world: Matrix4
    position: Row3
    yaw: float | None
    scale: Annotated[float, Field(gt=0.0)] = 1.0
    colour: Row3 = WHITE
    position_std: tuple[float, float]
    mesh: Path
    yaw_symmetry: Annotated[int, Field(ge=1)] | Literal["continuous"] | None


class PatchRecord(_Strict):
    """One patch in 2D; pixels. ``box`` is left, top, right, bottom."""

    presence_probability: Probability
    centre: tuple[float, float]
    side: float
    box: Row4


class CameraRecord(_Strict):
    """A pinhole camera in OpenCV's axes; ``intrinsics`` in pixels."""

    world_to_camera: Matrix4
    intrinsics: Matrix3


class LightRecord(_Strict):
    """Ambient light and a lamp; ``source`` is the lamp in homogeneous world coordinates."""

    source: Row4
    ambient: Row3
    diffuse: Row3
    specular: Row3


class Record(_Strict):
    """One image: what was found, and with what."""

    format: Literal["air3d.estimate/1"] = FORMAT
    image: str
    image_size: tuple[int, int]
    scene: str
    checkpoint: str
    refine_steps: int
    rounds: int = 0
    samples: int = 0
    count: int
    count_probabilities: tuple[Probability, ...]
    log_likelihood: float
    camera: CameraRecord | None
    light: LightRecord | None = None
    table: TableSpec | None = None
    objects: tuple[ObjectRecord | PatchRecord, ...]

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False) + "\n"


def object_record(found: ObjectEstimate, mesh: Mesh) -> ObjectRecord:
    """Turn one object of an estimate into its record."""
    pose = found.object_to_world
    return ObjectRecord(
        name=found.name,
        identity=found.identity,
        identity_probability=found.identity_probability,
        presence_probability=found.presence_probability,
        object_to_world=_numbers(pose),
        position=_numbers(pose[:3, 3]),
        yaw=yaw_of(pose) if mesh.symmetry is None else None,
        scale=_number(found.scale),
        colour=_numbers(found.colour),
        position_std=_numbers(found.position_std),
        mesh=mesh.path.resolve(),
        yaw_symmetry=_yaw_symmetry(mesh),
    )


def patch_record(found: PatchEstimate) -> PatchRecord:
    """Turn one patch of an estimate into its record."""
    return PatchRecord(
        presence_probability=found.presence_probability,
        centre=found.centre,
        side=found.side,
        box=patch_box(found),
    )


def camera_record(camera: Camera) -> CameraRecord:
    """Turn a batch of one camera into its record."""
    return CameraRecord(
        world_to_camera=_numbers(camera.world_to_camera[0]),
        intrinsics=_numbers(camera.intrinsics[0]),
    )


def light_record(light: Light) -> LightRecord:
    """Turn a batch of one light into its record."""
    return LightRecord(
        source=_numbers(light.source[0]),
        ambient=_numbers(light.ambient[0]),
        diffuse=_numbers(light.diffuse[0]),
        specular=_numbers(light.specular[0]),
    )


def make_record(
    estimate: SceneEstimate,
    meshes: Sequence[Mesh],
    *,
    image: str,
    spec: SceneSpec | GlimpseSpec,
    checkpoint: str,
    effort: Effort,
) -> Record:
    """Turn an estimate into its record; ``spec`` is the model's scene file."""
    height, width = estimate.reconstruction.shape[-2:]
    return Record(
        image=image,
        image_size=(height, width),
        scene=spec.name,
        checkpoint=checkpoint,
        **asdict(effort),
        count=estimate.count,
        count_probabilities=estimate.count_probability,
        log_likelihood=estimate.log_likelihood,
        camera=None if estimate.camera is None else camera_record(estimate.camera),
        light=None if estimate.light is None else light_record(estimate.light),
        table=spec.table if isinstance(spec, SceneSpec) else None,
        objects=tuple(
            object_record(found, meshes[found.identity])
            if isinstance(found, ObjectEstimate)
            else patch_record(found)
            for found in estimate.objects
        ),
    )


def read_record(path: str | Path) -> Record:
    """Read a record.

    Raises:
        RecordError: the file cannot be read or is not such a record.
    """
    try:
        return Record.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    except pydantic.ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise RecordError(
            f"{path}: is not a result of scripts/infer.py ({key}: {fault['msg']}); write it anew"
        ) from error


def record_camera(record: Record) -> Camera | None:
    """Return a record's camera as a batch of one; None in 2D."""
    if record.camera is None:
        return None
    return Camera(
        torch.tensor([record.camera.world_to_camera]),
        torch.tensor([record.camera.intrinsics]),
        record.image_size,
    )


def record_light(record: Record) -> Light | None:
    """Return a record's light as a batch of one; None in 2D and in older files."""
    if record.light is None:
        return None
    fields = (getattr(record.light, name) for name in ("source", "ambient", "diffuse", "specular"))
    return Light(*(torch.tensor([field]) for field in fields))


def record_exhibit(record: Record, meshes: Path | None = None) -> Exhibit | None:
    """Return what viewers show of a record; None of a 2D one. See :func:`record_placements`."""
    camera = record_camera(record)
    if camera is None:
        return None
    placements = record_placements(record, meshes)
    return Exhibit(placements, camera, record_light(record), record.table)


def record_placements(record: Record, meshes: Path | None = None) -> tuple[Placement, ...]:
    """Read the meshes of a record's objects and place them.

    Args:
        record: a 3D record.
        meshes: folder to look for the mesh files in, instead of where they were.

    Raises:
        RecordError: a mesh file is no longer there.
        MeshFileError: a mesh file cannot be used.
    """
    placements = []
    for found in record.objects:
        if not isinstance(found, ObjectRecord):
            continue
        path = found.mesh if meshes is None else meshes / found.mesh.name
        if not path.is_file():
            raise RecordError(
                f"{path}: the mesh of {found.name} is not there; say with --meshes in which "
                "folder it lies"
            )
        mesh = load_mesh(path, found.name, found.yaw_symmetry or 1)
        label = f"{found.name} {percent(found.identity_probability)}"
        pose = torch.tensor(found.object_to_world)
        placements.append(Placement(mesh, pose, label, found.scale, found.colour))
    return tuple(placements)


def _yaw_symmetry(mesh: Mesh) -> int | Literal["continuous"] | None:
    if mesh.symmetry is None:
        return mesh.yaw_symmetry
    return None if mesh.has_turn else "continuous"


def _numbers(tensor: Float[Tensor, "*shape"]) -> Any:
    """Nested lists of floats; nine digits bring every float32 back exactly."""
    if tensor.ndim:
        return [_numbers(row) for row in tensor]
    return _number(float(tensor))


def _number(value: float) -> float:
    return float(f"{value:.9g}")
