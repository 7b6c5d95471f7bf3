"""Train AIR on a scene file's own renders, or on your own pictures, without labelled images.

Phase `sleep` (default) teaches the guide scenes that the model itself draws; phase `wake`
raises the ELBO of unlabelled images through the renderer, from --init or, warmed up, from nothing;
phase `mixed` does both. With --data they adapt a checkpoint to pictures that another camera took.

Examples:
    python scripts/train_3d.py --scene scenes/single_object.yaml --out runs/single --minutes 9
    python scripts/train_3d.py --scene scenes/single_object.yaml --out runs/elbo --phase wake \
        --iterations 500 --batch 24 --learning-rate 2e-3
    python scripts/train_3d.py --init runs/single --data my_pictures --phase mixed --minutes 2 \
        --out runs/adapted
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from air3d.checkpoint import WEIGHTS, CheckpointError, load_model, scene_of
from air3d.cli import choose_device, run_together
from air3d.data import PictureStream, Prefetch, SceneStream, load_pictures
from air3d.evaluation import TestSet, evaluate
from air3d.files import file_digest
from air3d.models import Air, SceneConfig, build_air, compute_convolutions_in
from air3d.objectives import count_log_prior
from air3d.scene import SceneSpec, load_scene
from air3d.training import (
    Clock,
    FromScratch,
    Loss,
    TrainOptions,
    elbo_loss,
    from_scratch_loss,
    held_out_figures,
    mixed_loss,
    mixing_loss,
    sleep_loss,
    train,
    waking_loss,
)

HELD_OUT = 500
HELD_OUT_SEED = 2**31 - 1
DEFAULT_SCENE = Path("scenes/single_object.yaml")

PICTURES_PER_DREAM = 0.25
"""Of a mixed step with --data: a picture costs more than a dream, and teaches the guide less."""

BRISK = {"warmup": 20, "log_every": 20, "validate_every": 100}
"""How the loop's settings differ where a training takes minutes."""

Phase = Literal["sleep", "wake", "mixed"]


@dataclass(frozen=True, kw_only=True)
class Arguments(TrainOptions):
    """What to train on, how long, and where to write."""

    scene: Path | None = None
    """Scene file with decoder: scene (default: --init's own, or scenes/single_object.yaml)."""
    phase: Phase = "sleep"
    """What to maximise: log q of the model's own scenes, the ELBO of images alone, or both."""
    data: Path | None = None
    """Phases wake and mixed: folder of pictures, or of a BOP data set (poses are not read)."""
    init: Path | None = None
    """Checkpoint of the same scene file to start from (default: new weights)."""
    network: SceneConfig = SceneConfig()
    """Sizes of new weights."""
    from_scratch: FromScratch = FromScratch()
    """How phase wake begins without --init."""

    def __post_init__(self):
        super().__post_init__()
        if self.from_scratch != FromScratch() and not self.is_from_scratch:
            raise ValueError(
                "--from-scratch: has a meaning only with --phase wake, without --init and --data; "
                "leave it out"
            )

    @property
    def is_from_scratch(self) -> bool:
        """Whether new weights learn by the ELBO alone."""
        return self.phase == "wake" and self.init is None and self.data is None


def main(arguments: Arguments) -> None:
    """Train, validating on scenes of another seed, or on pictures that are held out."""
    device = choose_device(arguments.gpu)
    settings = arguments.settings
    if arguments.data is not None:
        settings = dataclasses.replace(settings, **BRISK)
    spec = _spec(arguments)
    pictures = _pictures(arguments, spec)
    stream = SceneStream(spec, batch=arguments.batch, seed=arguments.seed)
    torch.manual_seed(arguments.seed)
    model = _start(arguments, spec, stream).to(device)
    compute_convolutions_in(arguments.convolutions, model)
    clock = Clock(settings)
    if pictures is None:
        loss_of, validate = _own_loss(arguments, model, stream, clock), _own_figures(model, spec)
    else:
        loss_of = _pictures_loss(arguments.phase, model, pictures, stream)
        validate = functools.partial(held_out_figures, model, pictures.held_out)
    train(
        model,
        loss_of,
        settings,
        arguments.out,
        record={
            "scene": spec.model_dump(mode="json"),
            "meshes": [file_digest(mesh.path) for mesh in stream.meshes],
            "phase": arguments.phase,
            # By what they hold: a folder may have several names, and others under one.
            "data": pictures and pictures.digest,
            "init": arguments.init and file_digest(arguments.init / WEIGHTS),
            "network": asdict(model.config),
            "batch": arguments.batch,
            "learning_rate": arguments.learning_rate,
            "bfloat16": arguments.bfloat16,
            **_how_begun(arguments),
        },
        seed=arguments.seed,
        validate=validate,
        resume=arguments.resume,
        clock=clock,
    )
    print(arguments.out)


def _spec(arguments: Arguments) -> SceneSpec:
    """Read the scene file that is named, or the checkpoint's, or the default."""
    path = arguments.scene
    if path is None:
        path = DEFAULT_SCENE if arguments.init is None else scene_of(arguments.init)
    spec = load_scene(path)
    if not isinstance(spec, SceneSpec):
        raise ValueError(f"{path}: is a scene of glimpses; use scripts/train_2d.py")
    return spec


def _pictures(arguments: Arguments, spec: SceneSpec) -> PictureStream | None:
    """Read the pictures to adapt to, if any."""
    if arguments.data is None:
        return None
    if arguments.phase == "sleep":
        raise ValueError(
            "--data: phase sleep looks at no pictures; add --phase wake or --phase mixed"
        )
    share = PICTURES_PER_DREAM if arguments.phase == "mixed" else 1.0
    batch = math.ceil(share * arguments.batch)
    return PictureStream(load_pictures(arguments.data, spec), batch=batch, seed=arguments.seed)


def _own_loss(
    arguments: Arguments, model: Air, stream: SceneStream, clock: Clock
) -> Callable[[int], Loss]:
    """Return the loss of each iteration on the model's own scenes."""
    prior = count_log_prior(stream.spec.count, model.max_steps)
    device = next(model.parameters()).device
    batches = Prefetch(stream.batch)

    def loss_of(number: int) -> Loss:
        batch = batches(number)
        if arguments.phase == "sleep":
            return sleep_loss(model, batch)
        images = batch.images.to(device)
        if arguments.is_from_scratch:
            return from_scratch_loss(model, images, prior, arguments.from_scratch, clock.progress)
        if arguments.phase == "wake":
            return elbo_loss(model, images, prior)
        return mixed_loss(model, images, batch, prior)

    return loss_of


def _own_figures(model: Air, spec: SceneSpec) -> Callable[[], Mapping[str, float]]:
    """Return what measures a model on scenes of another seed."""
    device = next(model.parameters()).device
    scenes = SceneStream(spec, batch=HELD_OUT, seed=HELD_OUT_SEED).batch(0)
    held_out = TestSet.of_scenes(scenes, device)
    return lambda: evaluate(model, held_out, batch=250).metrics.headline


def _pictures_loss(
    phase: Phase, model: Air, pictures: PictureStream, stream: SceneStream
) -> Callable[[int], Loss]:
    """Return the loss of each iteration on pictures."""
    return waking_loss(model, pictures) if phase == "wake" else mixing_loss(model, pictures, stream)


def _how_begun(arguments: Arguments) -> dict[str, object]:
    """Return what a training by the ELBO alone has in its record beside the rest."""
    return {"from_scratch": asdict(arguments.from_scratch)} if arguments.is_from_scratch else {}


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
    run_together(main, Arguments, __doc__)
