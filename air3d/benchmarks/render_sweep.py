"""What rendering costs from one workload to the next, one thing at a time, as rows and tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from air3d.benchmarks.floor import Floor
from air3d.benchmarks.measure import Cost, measure
from air3d.benchmarks.plots import Curve, curve
from air3d.benchmarks.render_paths import (
    PYTORCH3D,
    PYTORCH3D_RASTERIZER,
    RASTERIZER,
    fragments,
    rasterizers,
    whole_paths,
)
from air3d.benchmarks.workloads import Workload, build_scenes

LARGE = Workload(images=1, size=256, faces=5120, objects=1)
LONG_LISTS = 50
AXES = {"images": "images", "objects": "objects", "faces": "faces", "size": "pixels a side"}


@dataclass(frozen=True)
class Sweep:
    """Which workloads are rendered: a base, and what differs from it in one thing."""

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

    def __post_init__(self):
        lists = {axis: min(getattr(self, axis), default=0) for axis in AXES}
        for name, value in ({"faces-per-pixel": self.faces_per_pixel} | lists).items():
            if value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")

    @property
    def base(self) -> Workload:
        """What the others differ from."""
        return Workload(**{axis: getattr(self, axis)[0] for axis in AXES})

    @property
    def varies(self) -> bool:
        """Whether anything does."""
        return any(len(getattr(self, axis)) > 1 for axis in AXES)

    def workloads(self) -> Iterator[Workload]:
        """Yield the base, then what differs from it in one thing, then a large image."""
        yield self.base
        for axis in AXES:
            for value in getattr(self, axis)[1:]:
                yield replace(self.base, **{axis: value})
        yield LARGE


@dataclass(frozen=True)
class Row:
    """What one way to an image costs for one workload."""

    workload: Workload
    path: str
    cost: Cost


def measure_rendering(sweep: Sweep, workload: Workload, runs: int) -> list[Row]:
    """Measure every way on the same scenes."""
    scenes = build_scenes(workload)
    return [
        Row(workload, name, measure(partial(path, scenes), scenes.leaves, runs))
        for name, path in _paths(sweep, workload).items()
    ]


def _paths(sweep: Sweep, workload: Workload) -> Mapping:
    """Return the ways to measure: the rasterizers alone, and long lists, for few workloads."""
    paths = whole_paths(sweep.faces_per_pixel)
    if workload in (sweep.base, LARGE):
        paths |= rasterizers(sweep.faces_per_pixel)
        paths[f"fragments, K={LONG_LISTS}"] = partial(fragments, faces_per_pixel=LONG_LISTS)
    return paths


def render_table(rows: Sequence[Row]) -> str:
    """Return one workload's costs as text, each beside PyTorch3D's where it was measured."""
    head = f"{rows[0].workload!s:<36}{'forward ms':>12}{'+ backward':>12}"
    lines = [f"{head}{'peak MiB':>12}{'faster':>11}"]
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


def render_breakdown(stages: Mapping[str, float], floor: Floor) -> str:
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


def render_curves(rows: Sequence[Row], base: Workload) -> list[Curve]:
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
