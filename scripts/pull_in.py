"""Measure from how far a pose comes home by refinement, under several ways to look at images.

Objects of scenes drawn by the scene file's prior are put off by known distances and turns, and
refined: by single scales of softness, by the scene file's anneal, by its image pyramid, by both.

Example:
    python scripts/pull_in.py scenes/single_object.yaml --json pull_in.json --plot pull_in.png
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from air3d.benchmarks import (
    Curve,
    Homecoming,
    Start,
    check_plottable,
    come_home,
    curve,
    draw_trials,
    plot_shares,
    ways_to_look,
)
from air3d.benchmarks.pull_in import HOME_POSITION, HOME_YAW
from air3d.cli import run
from air3d.models.decoders import SceneDecoder
from air3d.provenance import check_writable, provenance, write_json
from air3d.scene import SceneSpec, load_assets, load_scene

DISTANCE = "start distance (diameters of the object)"
ANGLE = "start angle (share of the greatest there is)"


@dataclass(frozen=True)
class Arguments:
    """What to try, and where to write."""

    scene: tyro.conf.Positional[Path] = Path("scenes/single_object.yaml")
    """Scene file with decoder: scene."""
    json: Path | None = None
    """File to write the figures to."""
    plot: Path | None = None
    """Picture to draw them in (PNG or SVG; needs matplotlib)."""
    distances: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9, 1.2, 1.5)
    """Start this far off, in diameters of each object, turned by the least of the angles."""
    angles: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Turned this far, as shares of half the symmetry's period, off by the least distance."""
    number: int = 128
    """Scenes for each distance and each angle."""
    steps: int = 40
    """Of refinement."""
    seed: int = 0
    """Of the scenes, of the noise and of where their starts lie."""

    def __post_init__(self):
        for name in ("number", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        for name, most in (("distances", 10.0), ("angles", 1.0)):
            values = getattr(self, name)
            if not values or not all(0 <= value <= most for value in values):
                raise ValueError(f"--{name} must be numbers from 0 to {most:g}, got {values}")


@dataclass(frozen=True)
class Row:
    """What becomes of one start under one way to look."""

    way: str
    sweep: str
    start: Start
    outcome: Homecoming

    @property
    def share(self) -> float:
        """Objects that come home; in the sweep of angles, among those that have a yaw."""
        if self.sweep == ANGLE:
            return self.outcome.turning_home / max(1, self.outcome.turning)
        return self.outcome.home / max(1, self.outcome.objects)


def main(arguments: Arguments) -> None:
    """Try every start under every way, print the shares, write JSON and plot."""
    if arguments.json:
        check_writable(arguments.json)
    if arguments.plot:
        check_plottable(arguments.plot)
    spec = load_scene(arguments.scene)
    if not isinstance(spec, SceneSpec):
        raise ValueError(f"{arguments.scene}: is a scene of glimpses, which is not refined")
    if spec.objects.rotation == "free":
        raise ValueError(
            f"{arguments.scene}: its objects turn freely, but starts are put off by their yaw; "
            "give a scene whose objects stand upright"
        )
    rows = list(_rows(spec, arguments))
    if arguments.json:
        content = {
            "scene": str(arguments.scene),
            "home": {"position_in_diameters": HOME_POSITION, "yaw_degrees": HOME_YAW},
            "steps": arguments.steps,
            "scenes_per_start": arguments.number,
            "ways": {
                name: {"render": way.render.model_dump(), "pull_in": way.pull_in.model_dump()}
                for name, way in ways_to_look(spec).items()
            },
            "rows": [_to_json(row) for row in rows],
            "provenance": asdict(provenance(arguments.seed)),
        }
        write_json(arguments.json, content)
    if arguments.plot:
        plot_shares(arguments.plot, _curves(rows))


def _rows(spec: SceneSpec, arguments: Arguments) -> Iterator[Row]:
    """Yield what becomes of each start under each way, and print it."""
    meshes = load_assets(spec)
    scene = SceneDecoder(spec, meshes)
    ways = {name: SceneDecoder(way, meshes) for name, way in ways_to_look(spec).items()}
    for index, (sweep, start) in enumerate(_starts(arguments)):
        # Each start has its own scenes, the same for every way.
        trials = draw_trials(spec, meshes, start, arguments.number, 1000 * arguments.seed + index)
        print(f"{start.distance:g} diameters and {start.angle:g} of a half period off")
        for name, way in ways.items():
            row = Row(name, sweep, start, come_home(trials, scene, way, arguments.steps))
            print(f"  {name:<48}{100 * row.share:>5.0f} % come home", flush=True)
            yield row


def _starts(arguments: Arguments) -> Iterator[tuple[str, Start]]:
    near, straight = min(arguments.distances), min(arguments.angles)
    for distance in arguments.distances:
        yield DISTANCE, Start(distance, straight)
    for angle in arguments.angles:
        yield ANGLE, Start(near, angle)


def _to_json(row: Row) -> dict:
    return {"way": row.way, **asdict(row.start), "share_home": row.share, **asdict(row.outcome)}


def _curves(rows: list[Row]) -> list[Curve]:
    """Return for the plot, by sweep, each way's shares that come home."""
    curves = []
    for sweep, way in dict.fromkeys((row.sweep, row.way) for row in rows):
        same = [row for row in rows if (row.sweep, row.way) == (sweep, way)]
        values = [r.start.distance if sweep == DISTANCE else r.start.angle for r in same]
        points = list(zip(values, (row.share for row in same), strict=True))
        curves.append(curve(sweep, way, points))
    return curves


if __name__ == "__main__":
    run(main, Arguments, __doc__)
