"""Test what AIR is compared with, and write the figures as evaluate.py does.

`twin` teaches a network like AIR's by labels, then tests it; `optimise` searches each test image
from random starts, in turn with a checkpoint if one is named; `bound` errs as little as an unbiased
estimate can that is told how many objects there are and which (the Cramér-Rao bound).

Examples:
    python scripts/rivals.py twin --minutes 10 --data data/single --json twin.json
    python scripts/rivals.py optimise --limit 100 --data data/single --json search.json \\
        --against assets/checkpoints/single_object --refine-steps 40
    python scripts/rivals.py bound --data data/single --json bound.json
"""

import functools
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from air3d.checkpoint import load_model
from air3d.cli import run
from air3d.data import SceneStream
from air3d.evaluation import (
    Method,
    Scored,
    TestSet,
    evaluate_in_turn,
    examine,
    load_test_set,
    result_record,
    score,
    to_json,
)
from air3d.evaluation.tables import further_table, to_table
from air3d.inference import ONE_PASS, Effort
from air3d.models import SceneConfig
from air3d.models.decoders import SceneDecoder
from air3d.provenance import check_writable, write_json
from air3d.rivals import Optimiser, Restarts, Twin, efficient_estimates, infer_by_twin, teach
from air3d.scene import Mesh, SceneSpec, load_assets, load_scene
from air3d.training import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Test:
    """What is tested on, and where to write."""

    data: Path
    """Folder of a BOP data set."""
    json: Path
    """File to write."""
    scene: Path = Path("scenes/single_object.yaml")
    """Scene file with decoder: scene."""
    seed: int = 0
    """Of all that is random."""
    method: str | None = None
    """What the page of results calls what is tested (default: the name of the JSON file)."""
    limit: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Test on the first N images only."""
    batch: int = 64
    """Images at a time, in training and in tests."""

    def __post_init__(self):
        for name, least in (("limit", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name} must be at least {least}, got {value}")


@dataclass(frozen=True, kw_only=True)
class TestTwin(Test):
    """Teach the supervised twin and test it."""

    minutes: float | None = None
    """Teach this long; or give --iterations."""
    iterations: int | None = None
    """Teach so many batches."""
    learning_rate: float = 1e-3
    """Adam's; warmed up, held, then lowered along a cosine."""
    network: SceneConfig = SceneConfig()
    """Sizes, as of AIR."""


@dataclass(frozen=True, kw_only=True)
class TestOptimiser(Test):
    """Search each image from random starts."""

    restarts: Annotated[Restarts, tyro.conf.arg(name="")] = Restarts()
    against: Path | None = None
    """Checkpoint that infers the same images in turn, so that the seconds compare."""
    effort: Annotated[Effort, tyro.conf.arg(name="")] = ONE_PASS

    def __post_init__(self):
        super().__post_init__()
        if self.effort and self.against is None:
            raise ValueError(
                "--refine-steps, --rounds and --samples are the checkpoint's; name it by --against"
            )


@dataclass(frozen=True, kw_only=True)
class TestBound(Test):
    """Err as an unbiased estimate must, told how many objects there are and which."""


@dataclass(frozen=True)
class Arguments:
    """Which rival."""

    rival: Annotated[
        Annotated[TestTwin, tyro.conf.subcommand("twin")]
        | Annotated[TestOptimiser, tyro.conf.subcommand("optimise")]
        | Annotated[TestBound, tyro.conf.subcommand("bound")],
        tyro.conf.arg(name=""),
    ]


def main(arguments: Arguments) -> None:
    """Check all that can be checked before long work, then let the rival show what it can."""
    rival = arguments.rival
    check_writable(rival.json)
    spec = load_scene(rival.scene)
    if not isinstance(spec, SceneSpec):
        raise ValueError(f"{rival.scene}: is a scene of glimpses; rivals know scenes of meshes")
    meshes = load_assets(spec)
    test_set = load_test_set(rival.data, spec, meshes)
    if rival.limit is not None:
        test_set = test_set.first(rival.limit)
    if isinstance(rival, TestTwin):
        _test_twin(rival, spec, meshes, test_set)
    elif isinstance(rival, TestOptimiser):
        _test_optimiser(rival, spec, meshes, test_set)
    else:
        _test_bound(rival, spec, meshes, test_set)


def _test_twin(
    arguments: TestTwin, spec: SceneSpec, meshes: tuple[Mesh, ...], test_set: TestSet
) -> None:
    settings = TrainSettings(
        arguments.iterations, arguments.minutes, learning_rate=arguments.learning_rate
    )
    torch.manual_seed(arguments.seed)
    twin = Twin(spec, arguments.network, meshes)
    stream = SceneStream(spec, batch=arguments.batch, seed=arguments.seed)
    started = time.process_time()
    clock = teach(twin, stream, settings)
    twin.eval()
    method = Method(spec, meshes, functools.partial(infer_by_twin, twin))
    (evaluation,) = evaluate_in_turn([method], test_set, arguments.batch)
    training = {
        "iterations": clock.iteration,
        "seconds": round(clock.seconds),
        "processor_seconds": round(time.process_time() - started),
        "seed": arguments.seed,
        "weights": sum(weights.numel() for weights in twin.parameters()),
    }
    _write(arguments, meshes, test_set, evaluation, {"training": training})


def _test_optimiser(
    arguments: TestOptimiser, spec: SceneSpec, meshes: tuple[Mesh, ...], test_set: TestSet
) -> None:
    restarts = arguments.restarts
    method = Method(spec, meshes, Optimiser(spec, meshes, restarts, arguments.seed).infer)
    methods = [method]
    if arguments.against is not None:
        methods.append(Method.of_model(load_model(arguments.against), arguments.effort))
    evaluation, *others = evaluate_in_turn(methods, test_set, arguments.batch)
    how: dict[str, object] = {"effort": str(restarts), **asdict(restarts), "seed": arguments.seed}
    for other in others:
        how["against"] = {
            "checkpoint": str(arguments.against),
            "effort": str(arguments.effort),
            "processor_seconds": other.processor_seconds,
            "times_faster": evaluation.processor_seconds / other.processor_seconds,
            "metrics": to_json(other.metrics),
        }
        print(to_table(other), end="\n\n")
    _write(arguments, meshes, test_set, evaluation, how)


def _test_bound(
    arguments: TestBound, spec: SceneSpec, meshes: tuple[Mesh, ...], test_set: TestSet
) -> None:
    assert test_set.scenes is not None, "a data set for a scene of meshes has scenes"
    estimates = efficient_estimates(
        SceneDecoder(spec, meshes),
        test_set.images,
        test_set.scenes,
        batch=arguments.batch,
        seed=arguments.seed,
    )
    evaluation = score(spec, meshes, test_set, tuple(estimates))
    how = {"effort": "told what there is; errs as the noise lets it", "seed": arguments.seed}
    _write(arguments, meshes, test_set, evaluation, how)


def _write(
    arguments: Test,
    meshes: tuple[Mesh, ...],
    test_set: TestSet,
    evaluation: Scored,
    how: Mapping[str, object],
) -> None:
    """Write the figures of a rival and show them."""
    figures = examine(test_set, evaluation, meshes, elbo=None)
    options = {"scene": str(arguments.scene), "data": str(arguments.data), "batch": arguments.batch}
    how = {"method": arguments.method, **options, **how}
    write_json(arguments.json, result_record(how, test_set, evaluation, figures))
    print(to_table(evaluation), further_table(figures), sep="\n")


if __name__ == "__main__":
    run(main, Arguments, __doc__)
