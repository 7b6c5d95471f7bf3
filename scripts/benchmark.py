"""Measure what rendering costs, print it as tables, and write JSON and a plot.

Beside this package's renderer stands PyTorch3D's, in the same run, where it is installed.

Example:
    python scripts/benchmark.py render --json render.json --plot render.png
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from air3d.benchmarks import (
    PYTORCH3D,
    PYTORCH3D_RASTERIZER,
    RASTERIZER,
    Cost,
    Curve,
    Floor,
    Workload,
    arithmetic_floor,
    build_scenes,
    check_plottable,
    curve,
    fragments,
    fused,
    measure,
    plot_scaling,
    rasterizers,
    stage_times,
    whole_paths,
)
from air3d.cli import run
from air3d.provenance import check_writable, provenance, write_json

LARGE = Workload(images=1, size=256, faces=5120, objects=1)
LONG_LISTS = 50
AXES = {"images": "images", "objects": "objects", "faces": "faces", "size": "pixels a side"}


@dataclass(frozen=True)
class Arguments:
    """Measure what rendering costs."""

    what: Annotated[Literal["render"], tyro.conf.Positional] = "render"
    """What to measure."""
    json: Path | None = None
    """File to write the figures to."""
    plot: Path | None = None
    """Picture to draw the sweeps in (PNG or SVG; needs matplotlib)."""
    runs: int = 7
    """Runs of which the median counts, after one that does not; slow ways get fewer."""
    images: tuple[int, ...] = (64, 16, 32, 128)
    """Sizes of batch: the first is the base, from which one thing at a time varies."""
    objects: tuple[int, ...] = (3, 1, 2, 6)
    """Objects in an image, the base first."""
    faces: tuple[int, ...] = (320, 80, 1280)
    """Faces of each object (a subdivided icosahedron), the base first."""
    size: tuple[int, ...] = (64, 32, 128)
    """Pixels a side, the base first."""
    faces_per_pixel: int = 8
    """K of the fragments' lists."""
    threads: int | None = None
    """Threads of torch and of the renderer; all that torch would use if not given."""

    def __post_init__(self):
        numbers = {
            "runs": self.runs,
            "threads": self.threads,
            "faces-per-pixel": self.faces_per_pixel,
        }
        lists = {axis: min(getattr(self, axis), default=0) for axis in AXES}
        for name, value in (numbers | lists).items():
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class Row:
    """What one way to an image costs for one workload."""

    workload: Workload
    path: str
    cost: Cost


def main(arguments: Arguments) -> None:
    """Measure, print tables, write JSON and plot."""
    if arguments.json:
        check_writable(arguments.json)
    if arguments.plot:
        check_plottable(arguments.plot)
        if all(len(getattr(arguments, axis)) == 1 for axis in AXES):
            raise ValueError(
                "--plot: draws cost against what varies, and nothing does; give an option two "
                "values or more, as in --images 16 32 64"
            )
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    base = _base(arguments)
    rows: list[Row] = []
    for workload in (*_sweep(arguments), LARGE):
        new = _measure(workload, _paths(workload, base, arguments), arguments.runs)
        print(_table(workload, new), flush=True)
        rows += new
    scenes = build_scenes(base)
    stages = stage_times(partial(fused, scenes), scenes.leaves, arguments.runs)
    floor = arithmetic_floor(scenes)
    print(_breakdown(stages, floor))
    if arguments.json:
        content = {
            "rows": [asdict(row.workload) | {"path": row.path} | asdict(row.cost) for row in rows],
            "stages": stages,
            "floor": asdict(floor),
            "provenance": asdict(provenance(seed=0)),
        }
        write_json(arguments.json, content)
    if arguments.plot:
        plot_scaling(arguments.plot, _curves(rows, base))


def _base(arguments: Arguments) -> Workload:
    return Workload(**{axis: getattr(arguments, axis)[0] for axis in AXES})


def _sweep(arguments: Arguments) -> Iterable[Workload]:
    """Yield the base, then what differs from it in one thing."""
    base = _base(arguments)
    yield base
    for axis in AXES:
        for value in getattr(arguments, axis)[1:]:
            yield replace(base, **{axis: value})


def _paths(workload: Workload, base: Workload, arguments: Arguments) -> Mapping:
    """Return the ways to measure: the rasterizers alone, and long lists, for few workloads."""
    paths = whole_paths(arguments.faces_per_pixel)
    if workload in (base, LARGE):
        paths |= rasterizers(arguments.faces_per_pixel)
        paths[f"fragments, K={LONG_LISTS}"] = partial(fragments, faces_per_pixel=LONG_LISTS)
    return paths


def _measure(workload: Workload, paths: Mapping, runs: int) -> list[Row]:
    """Measure every way on the same scenes."""
    scenes = build_scenes(workload)
    return [
        Row(workload, name, measure(partial(path, scenes), scenes.leaves, runs))
        for name, path in paths.items()
    ]


def _table(workload: Workload, rows: list[Row]) -> str:
    """Return one workload's costs as text, each beside PyTorch3D's where it was measured."""
    lines = [f"{workload!s:<36}{'forward ms':>12}{'+ backward':>12}{'peak MiB':>12}{'faster':>11}"]
    for row in rows:
        peak = "?" if row.cost.peak is None else f"{row.cost.peak:.1f}"
        other = next((o for o in rows if o.path == _counterpart(row.path)), row)
        ratio = "" if other is row else f"{other.cost.total / row.cost.total:>10.1f}x"
        name = f"  {row.path}"
        lines.append(f"{name:<36}{row.cost.forward:>12.2f}{row.cost.total:>12.2f}{peak:>12}{ratio}")
    return "\n".join(lines)


def _counterpart(path: str) -> str:
    """Return what PyTorch3D does for the same end: a whole image, or fragments alone."""
    return PYTORCH3D_RASTERIZER if path == RASTERIZER else PYTORCH3D


def _breakdown(stages: Mapping[str, float], floor: Floor) -> str:
    """Return where the fused way's time goes, and the arithmetic it cannot avoid."""
    total = sum(stages.values())
    lines = ["the fused way, by stage (forward + backward)"]
    for name, milliseconds in sorted(stages.items(), key=lambda stage: -stage[1]):
        lines.append(f"  {name:<34}{milliseconds:>12.2f}{100 * milliseconds / total:>11.0f}%")
    lines.append(
        f"  {floor.fragments:,} fragments of {floor.box_tests:,} pixels in bounding boxes; at "
        f"{floor.gigaflops_per_second:.0f} GFLOP/s (a matrix product) their arithmetic takes "
        f"{floor.total:.2f} ms: {total / floor.total:.0f} times less"
    )
    return "\n".join(lines)


def _curves(rows: list[Row], base: Workload) -> list[Curve]:
    """Return for the plot each way's milliseconds along each axis, where it has more than one."""
    curves = []
    for axis, label in AXES.items():
        alike = [
            row
            for row in rows
            if replace(base, **{axis: getattr(row.workload, axis)}) == row.workload
        ]
        for path in dict.fromkeys(row.path for row in alike):
            same = [row for row in alike if row.path == path]
            points = [(float(getattr(row.workload, axis)), row.cost.total) for row in same]
            if len(points) > 1 and path not in (RASTERIZER, PYTORCH3D_RASTERIZER):
                curves.append(curve(label, path, points))
    return curves


if __name__ == "__main__":
    run(main, Arguments, __doc__)
