"""Measure what rendering, training, inference and data sets cost: tables, JSON and a plot.

`render` measures every way to an image, beside PyTorch3D's in the same run where it is installed;
`train` the steps of each phase, by stage; `infer` images a second by effort; `dataset` the path of
render_dataset.py. All say how far that is from what the machine could do, or where the time goes.

Examples:
    python scripts/benchmark.py render --json render.json --plot render.png
    python scripts/benchmark.py train --phases sleep wake --json train.json
    python scripts/benchmark.py infer --checkpoint assets/checkpoints/tabletop --json infer.json
    python scripts/benchmark.py dataset --json dataset.json
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro

from air3d.benchmarks import (
    PHASES,
    TABLETOP,
    Phase,
    Sweep,
    TrainWorkload,
    arithmetic_floor,
    build_scenes,
    check_plottable,
    data_table,
    fused,
    images_to_infer,
    infer_table,
    measure_data_set,
    measure_inference,
    measure_rendering,
    measure_training,
    plot_scaling,
    render_breakdown,
    render_curves,
    render_table,
    stage_times,
    to_row,
    train_row,
    train_table,
)
from air3d.checkpoint import load_model
from air3d.cli import choose_device, run
from air3d.inference import ONE_PASS, Effort
from air3d.models import SceneConfig, compute_convolutions_in
from air3d.provenance import check_writable, provenance, write_json
from air3d.scene import SceneSpec, load_scene


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How to measure, and where to write."""

    json: Path | None = None
    """File to write the figures to."""
    runs: int = 7
    """Runs of which the mean or the median counts, after one that does not."""
    threads: int | None = None
    """Threads of torch and of the renderer; all that torch would use if not given."""

    def __post_init__(self):
        for name in ("runs", "threads"):
            _check_least(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class OnDevice(Measured):
    """What may be measured on a GPU, too."""

    gpu: bool = False
    """Put the network, and the meshes that it renders, on the CUDA device."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16, for processors that have it."""

    @property
    def convolutions(self) -> torch.dtype:
        """The numbers that convolutions compute with."""
        return torch.bfloat16 if self.bfloat16 else torch.float32


@dataclass(frozen=True, kw_only=True)
class Render(Measured):
    """Every way to an image, forward and backward; slow ways get fewer runs."""

    plot: Path | None = None
    """Picture to draw the sweeps in (PNG or SVG; needs matplotlib)."""
    sweep: Annotated[Sweep, tyro.conf.arg(name="")] = Sweep()


@dataclass(frozen=True, kw_only=True)
class Train(OnDevice):
    """Steps of training, by phase and by stage, with new weights."""

    scene: Path = Path("scenes/tabletop.yaml")
    """Scene file with decoder: scene."""
    network: SceneConfig = TABLETOP
    """Sizes of the network."""
    phases: tuple[Phase, ...] = PHASES
    """Which phases of training."""
    batch: int = 64
    """Images in a step."""

    def __post_init__(self):
        super().__post_init__()
        _check_least("batch", self.batch)


@dataclass(frozen=True, kw_only=True)
class Infer(OnDevice):
    """Inference of fresh images, by effort and by stage."""

    checkpoint: Path = Path("assets/checkpoints/tabletop")
    """Folder of a trained model of scenes."""
    batch: tuple[int, ...] = (1, 64, 1024)
    """Images that one pass infers together."""
    search_batch: tuple[int, ...] = (1, 32)
    """Images that are refined, or searched, together; none: one pass alone."""
    refine_steps: int = 40
    """Steps of refinement, with and without a search."""
    rounds: int = 3
    """Of a search, after refinement."""

    def __post_init__(self):
        super().__post_init__()
        for name, values in (("batch", self.batch), ("search-batch", self.search_batch)):
            _check_least(name, min(values, default=1))
        Effort(refine_steps=self.refine_steps, rounds=self.rounds)


@dataclass(frozen=True, kw_only=True)
class Dataset(Measured):
    """Data sets in tar shards, as render_dataset.py makes them, on the CPU."""

    scenes: tuple[Path, ...] = (Path("scenes/tabletop.yaml"), Path("scenes/tabletop_128.yaml"))
    """Scene files with decoder: scene."""
    count: int = 1000
    """Images in a data set."""
    runs: int = 3

    def __post_init__(self):
        super().__post_init__()
        _check_least("count", self.count)


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    what: Annotated[
        Annotated[Render, tyro.conf.subcommand("render")]
        | Annotated[Train, tyro.conf.subcommand("train")]
        | Annotated[Infer, tyro.conf.subcommand("infer")]
        | Annotated[Dataset, tyro.conf.subcommand("dataset")],
        tyro.conf.arg(name=""),
    ]


def main(arguments: Arguments) -> None:
    """Measure, print tables, write JSON and plot."""
    what = arguments.what
    if what.json:
        check_writable(what.json)
    device = choose_device(isinstance(what, OnDevice) and what.gpu)
    if what.threads:
        torch.set_num_threads(what.threads)
    if isinstance(what, Render):
        content = _render(what)
    elif isinstance(what, Train):
        content = {"network": asdict(what.network), "training_steps": list(_train(what, device))}
    elif isinstance(what, Infer):
        content = {
            "checkpoint": str(what.checkpoint),
            "inference_passes": list(_infer(what, device)),
        }
    else:
        content = {"data_sets": list(_make_data_sets(what))}
    if what.json:
        write_json(what.json, content | {"provenance": asdict(provenance(0, device))})


def _render(what: Render) -> dict:
    """Measure the ways to an image."""
    sweep = what.sweep
    if what.plot:
        check_plottable(what.plot)
        if not sweep.varies:
            raise ValueError(
                "--plot: draws cost against what varies, and nothing does; give an option two "
                "values or more, as in --images 16 32 64"
            )
    rows = []
    for workload in sweep.workloads():
        rows += (new := measure_rendering(sweep, workload, what.runs))
        print(render_table(new), flush=True)
    scenes = build_scenes(sweep.base)
    stages = stage_times(partial(fused, scenes), scenes.leaves, what.runs)
    floor = arithmetic_floor(scenes)
    print(render_breakdown(stages, floor))
    if what.plot:
        plot_scaling(what.plot, render_curves(rows, sweep.base))
    costs = [asdict(row.workload) | {"path": row.path} | asdict(row.cost) for row in rows]
    return {"rows": costs, "stages": stages, "floor": asdict(floor)}


def _train(what: Train, device: torch.device) -> Iterator[dict]:
    """Measure each phase of training, print it, and yield its row of JSON."""
    workload = TrainWorkload(
        _scene(what.scene), what.network, what.batch, device, what.convolutions
    )
    for phase in what.phases:
        cost = measure_training(workload, phase, what.runs)
        print(train_table(cost), flush=True)
        how = {"scene": str(what.scene), "batch": what.batch, "bfloat16": what.bfloat16}
        yield how | train_row(cost)


def _infer(what: Infer, device: torch.device) -> Iterator[dict]:
    """Measure each effort and size of batch, print it, and yield its row of JSON."""
    model = load_model(what.checkpoint, device)
    compute_convolutions_in(what.convolutions, model)
    if not isinstance(model.spec, SceneSpec):
        raise ValueError(f"{what.checkpoint}: is a 2D checkpoint; name one of a scene of meshes")
    images = images_to_infer(model, max(what.batch + what.search_batch, default=1), device)
    refined = Effort(refine_steps=what.refine_steps)
    searched = Effort(refine_steps=what.refine_steps, rounds=what.rounds)
    efforts = [(ONE_PASS, number) for number in what.batch]
    efforts += [(effort, n) for effort in (refined, searched) for n in what.search_batch]
    for effort, number in efforts:
        cost = measure_inference(model, images[:number], effort, what.runs)
        print(infer_table(cost), flush=True)
        yield {"bfloat16": what.bfloat16} | to_row(cost)


def _make_data_sets(what: Dataset) -> Iterator[dict]:
    """Make each scene file's data sets, print what they cost, and yield a row of JSON."""
    for path in what.scenes:
        cost = measure_data_set(_scene(path), what.count, what.runs)
        print(data_table(cost), flush=True)
        yield to_row(cost)


def _scene(path: Path) -> SceneSpec:
    spec = load_scene(path)
    if not isinstance(spec, SceneSpec):
        raise ValueError(f"{path}: is a scene of glimpses; name one of meshes, decoder: scene")
    return spec


def _check_least(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"--{name} must be at least 1, got {value}")


if __name__ == "__main__":
    run(main, Arguments, __doc__)
