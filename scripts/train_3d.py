"""Train AIR on a scene file's own renders, without labelled images.

Phase `sleep` (default) teaches the guide scenes that the model itself draws; phase `wake`
raises the ELBO of unlabelled images through the renderer, usually from --init.

Example:
    python scripts/train_3d.py --scene scenes/single_object.yaml --out runs/single --minutes 9
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from air3d.checkpoint import CheckpointError, load_model
from air3d.cli import choose_device, run
from air3d.data import Prefetch, SceneStream
from air3d.evaluation import TestSet, evaluate
from air3d.files import file_digest
from air3d.models import Air, SceneConfig, build_air
from air3d.objectives import count_log_prior
from air3d.scene import SceneSpec, load_scene
from air3d.training import Loss, TrainOptions, elbo_loss, sleep_loss, train

HELD_OUT = 500
HELD_OUT_SEED = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Arguments(TrainOptions):
    """What to train on, how long, and where to write."""

    scene: Path = Path("scenes/single_object.yaml")
    """Scene file with decoder: scene."""
    phase: Literal["sleep", "wake"] = "sleep"
    """What to maximise: log q of the model's own scenes, or the ELBO of their images alone."""
    init: Path | None = None
    """Checkpoint of the same scene file to start from (default: new weights)."""
    network: SceneConfig = SceneConfig()
    """Sizes of new weights."""


def main(arguments: Arguments) -> None:
    """Train, validating on scenes of another seed."""
    device = choose_device(arguments.gpu)
    settings = arguments.settings
    spec = load_scene(arguments.scene)
    if not isinstance(spec, SceneSpec):
        raise ValueError(f"{arguments.scene}: is a scene of glimpses; use scripts/train_2d.py")
    stream = SceneStream(spec, batch=arguments.batch, seed=arguments.seed)
    held_out = TestSet.of_scenes(
        SceneStream(spec, batch=HELD_OUT, seed=HELD_OUT_SEED).batch(0), device
    )
    torch.manual_seed(arguments.seed)
    model = _start(arguments, spec, stream).to(device)
    prior = count_log_prior(spec.count, model.max_steps)
    batches = Prefetch(stream.batch)

    def loss_of(iteration: int) -> Loss:
        batch = batches(iteration)
        if arguments.phase == "sleep":
            return sleep_loss(model, batch)
        return elbo_loss(model, batch.images.to(device), prior)

    train(
        model,
        loss_of,
        settings,
        arguments.out,
        record={
            "scene": spec.model_dump(mode="json"),
            "meshes": [file_digest(mesh.path) for mesh in stream.meshes],
            "phase": arguments.phase,
            "init": str(arguments.init),
            "batch": arguments.batch,
            "learning_rate": arguments.learning_rate,
        },
        seed=arguments.seed,
        validate=lambda: evaluate(model, held_out, batch=250).metrics.headline,
        resume=arguments.resume,
    )
    print(arguments.out)


def _start(arguments: Arguments, spec: SceneSpec, stream: SceneStream) -> Air:
    """Build a new model, or load one that was trained on this scene file's kinds of object."""
    init = arguments.init
    if init is None:
        return build_air(spec, arguments.network, stream.meshes)
    if arguments.network != SceneConfig():
        raise ValueError("--network: has no meaning with --init, whose sizes stay; leave it out")
    model = load_model(init)
    theirs = [mesh.name for mesh in model.meshes]
    ours = [mesh.name for mesh in stream.meshes]
    if theirs != ours or model.spec.image_size != spec.image_size or model.spec.count != spec.count:
        raise CheckpointError(
            f"{init}: is a checkpoint of another scene ('{model.spec.name}'); --init needs the "
            f"meshes ({', '.join(ours)}), image size and counts of the scene file"
        )
    fresh = build_air(spec, model.config, stream.meshes)
    fresh.load_state_dict(model.state_dict())
    return fresh


if __name__ == "__main__":
    run(main, Arguments, __doc__)
