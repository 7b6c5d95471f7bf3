"""Read scene files and write them, with one line for whatever is wrong."""

from pathlib import Path
from typing import Annotated

import pydantic
import yaml
from pydantic import Field

from air3d.scene.spec.base import NUMBER, RANGE
from air3d.scene.spec.glimpse import GlimpseSpec
from air3d.scene.spec.scene import SceneSpec


class SceneFileError(ValueError):
    """A scene file that cannot be used; the message names file, key and remedy."""


AnySpec = Annotated[SceneSpec | GlimpseSpec, Field(discriminator="decoder")]
_ADAPTER = pydantic.TypeAdapter(AnySpec)


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
        # The first key is the decoder; the tag of a union is no key.
        keys = [str(key) for key in fault["loc"][1:] if key not in (NUMBER, RANGE)]
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
