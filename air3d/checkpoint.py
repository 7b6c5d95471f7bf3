"""Checkpoints: a folder that holds all it takes to use a model.

========================  =================================================================
``model.safetensors``     the weights
``config.yaml``           sizes of the model, and how it was trained
``scene.yaml, meshes/``   the scene file and the meshes it names
========================  =================================================================

A training's own folder holds states to resume from, too, and before its end none of these files.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pydantic
import safetensors
import safetensors.torch
import torch
import yaml

from air3d.files import to_json, write_atomically
from air3d.models import Air, GlimpseConfig, SceneConfig, build_air
from air3d.scene import (
    Mesh,
    SceneSpec,
    load_assets,
    load_scene,
    mesh_to_ply,
    scene_to_yaml,
    textured_mesh_to_glb,
)

WEIGHTS, CONFIG, SCENE = "model.safetensors", "config.yaml", "scene.yaml"

STATES = "states"
"""Where a training's folder has what it goes on from (:mod:`air3d.training.states`)."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used or written; the message names the file and the remedy."""


def save_model(
    folder: str | Path,
    model: Air,
    training: Mapping[str, object],
    *,
    precision: torch.dtype = torch.float32,
) -> None:
    """Write a model, its scene file and its meshes; each file appears whole or not at all.

    Args:
        folder: made if it is not there.
        model: what to save.
        training: how it was trained (command, seed, seconds, ...), for ``config.yaml``.
        precision: of what was learned, in the file; what is read is float32 again.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    folder = Path(folder)
    config = {"model": dataclasses.asdict(model.config), "training": dict(training)}
    learned = {name for name, _ in model.named_parameters()}
    weights = {
        name: tensor.to("cpu", precision if name in learned else None).contiguous()
        for name, tensor in model.state_dict().items()
    }
    # All is turned into bytes before the first file is written: what cannot be leaves nothing.
    files = {
        **{_mesh_file(mesh): _mesh_content(mesh) for mesh in model.meshes},
        SCENE: _packed_scene(model).encode(),
        CONFIG: yaml.safe_dump(json.loads(to_json(config)), sort_keys=False).encode(),
        WEIGHTS: safetensors.torch.save(weights),
    }
    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)
    except OSError as error:
        raise CheckpointError(
            f"{folder}: cannot be written ({error}); free space there, or choose another --out"
        ) from error


def load_model(folder: str | Path, device: torch.device | str = "cpu") -> Air:
    """Read a model for inference.

    Raises:
        CheckpointError: a file is missing, damaged, or does not fit the others.
        SceneFileError, MeshFileError: the scene file in the checkpoint cannot be used.
    """
    folder = Path(folder)
    spec = load_scene(scene_of(folder))
    meshes = load_assets(spec) if isinstance(spec, SceneSpec) else ()
    kind = SceneConfig if isinstance(spec, SceneSpec) else GlimpseConfig
    config = _read_config(folder / CONFIG, kind)
    try:
        model = build_air(spec, config, meshes)
        weights = safetensors.torch.load_file(folder / WEIGHTS)
        model.load_state_dict(weights)
    except (OSError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{folder / WEIGHTS}: is damaged or belongs to another scene ({reason}); copy the "
            "checkpoint anew"
        ) from error
    return model.to(device).eval()


def pack_model(folder: str | Path, out: str | Path) -> None:
    """Copy a model for others to use, half as large: its weights rounded to float16.

    That changes each by at most a two-thousandth of itself, or 3e-8 where it is below 6e-5.

    Raises:
        CheckpointError: as of :func:`load_model` and :func:`save_model`, or ``config.yaml`` does
            not tell how the model was trained.
    """
    folder = Path(folder)
    model = load_model(folder)
    training = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")).get("training")
    if not isinstance(training, dict):
        raise CheckpointError(
            f"{folder / CONFIG}: does not tell how the model was trained; copy the checkpoint anew"
        )
    save_model(out, model, training, precision=torch.float16)


def scene_of(folder: Path) -> Path:
    """Return the path of a checkpoint's scene file.

    Raises:
        CheckpointError: the folder is no checkpoint, or of a training that has not ended.
    """
    if (folder / STATES).is_dir() and not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder}: holds a training that has not ended; repeat its command with --resume "
            "added, which ends with a checkpoint"
        )
    for name in (SCENE, CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder}: is no checkpoint, {name} is missing; give a folder that training wrote"
            )
    return folder / SCENE


def _mesh_file(mesh: Mesh) -> str:
    """Return where a checkpoint keeps a mesh: a GLB file holds its own texture."""
    return f"meshes/{mesh.name}.{'ply' if mesh.texture is None else 'glb'}"


def _mesh_content(mesh: Mesh) -> bytes:
    return mesh_to_ply(mesh) if mesh.texture is None else textured_mesh_to_glb(mesh)


def _packed_scene(model: Air) -> str:
    """Return a scene file that names the checkpoint's own copies of the meshes.

    It states their yaw symmetries, also those that were found from them: the weights rely on them.
    (Those of objects that turn freely are found anew from the same meshes.)
    """
    spec = model.spec
    if not isinstance(spec, SceneSpec):
        return scene_to_yaml(spec)
    types = tuple(
        kind.model_copy(update={"mesh": _mesh_file(mesh)} | _stated(mesh))
        for kind, mesh in zip(spec.objects.types, model.meshes, strict=True)
    )
    objects = spec.objects.model_copy(update={"types": types})
    return scene_to_yaml(spec.model_copy(update={"objects": objects}))


def _stated(mesh: Mesh) -> dict[str, object]:
    return {"yaw_symmetry": mesh.yaw_symmetry} if mesh.symmetry is None else {}


def _read_config(
    path: Path, kind: type[SceneConfig] | type[GlimpseConfig]
) -> SceneConfig | GlimpseConfig:
    """Build the model's sizes from the checkpoint's YAML."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]
        return pydantic.TypeAdapter(kind).validate_python(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: does not describe a model of this version ({reason}); copy the checkpoint "
            "anew, or train it anew"
        ) from error
