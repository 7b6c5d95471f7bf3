"""Measure how long rendering takes, and write the figures as JSON.

Example:
    python scripts/benchmark.py render --json render.json
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import torch
import tyro

from air3d.cli import run
from air3d.geometry import rigid_transform, yaw_rotation
from air3d.provenance import check_writable, provenance, write_json
from air3d.render import Instances, composite, light_of, prefix_selection, render_layers
from air3d.scene import Mesh, MeshBank, SceneSpec, camera_of, load_assets, load_scene

SCENE = Path(__file__).resolve().parent.parent / "scenes" / "single_object.yaml"


@dataclass(frozen=True)
class Arguments:
    """Measure how long rendering takes."""

    what: Annotated[Literal["render"], tyro.conf.Positional] = "render"
    """What to measure."""
    json: Path | None = None
    """File to write the figures to."""
    runs: int = 15
    """Runs of which the median counts, after two that do not."""
    images: int = 64
    """Images in a batch."""
    threads: int | None = None
    """Threads of torch and of the renderer; all that torch would use if not given."""

    def __post_init__(self):
        for name in ("runs", "images", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class Timings:
    """Median milliseconds of one workload: 64x64 images, all prefixes of every scene.

    Attributes:
        objects: per scene.
        faces: of the largest mesh.
        layers, layers_backward: from poses and vertex colours to layers, and back.
        composite, composite_backward: from layers to the images of all prefixes, and back.
        total: of the four, median of the sums.
    """

    objects: int
    faces: int
    layers: float
    layers_backward: float
    composite: float
    composite_backward: float
    total: float


def main(arguments: Arguments) -> None:
    """Time the two workloads, print a table, write the JSON."""
    if arguments.json:
        check_writable(arguments.json)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    spec = load_scene(SCENE)
    assert isinstance(spec, SceneSpec)
    meshes = load_assets(spec)
    largest = max(meshes, key=lambda mesh: len(mesh.faces))
    workloads = [(meshes, 1), ((largest,), 3)]
    timings = [time_workload(spec, kinds, n, arguments) for kinds, n in workloads]
    print(_table(timings, arguments.images))
    if arguments.json:
        content = {
            "images": arguments.images,
            "image_size": list(spec.image_size),
            "runs": arguments.runs,
            "milliseconds": [asdict(timing) for timing in timings],
            "provenance": asdict(provenance(seed=0)),
        }
        write_json(arguments.json, content)


def time_workload(
    spec: SceneSpec, meshes: tuple[Mesh, ...], objects: int, arguments: Arguments
) -> Timings:
    """Time scenes of ``objects`` meshes each, forward and backward."""
    step = _step(spec, meshes, objects, arguments.images)
    rows = [step() for _ in range(arguments.runs + 2)][2:]
    middle = [1e3 * median(column) for column in zip(*rows, strict=True)]
    faces = max(len(mesh.faces) for mesh in meshes)
    return Timings(objects, faces, *middle, total=1e3 * median(sum(row) for row in rows))


def _step(
    spec: SceneSpec, meshes: tuple[Mesh, ...], objects: int, images: int
) -> Callable[[], tuple[float, float, float, float]]:
    """Return a function that renders a batch there and back, and says the seconds of each part."""
    generator = torch.Generator().manual_seed(0)
    bank = MeshBank.pack(meshes)
    bank.colours.requires_grad_()
    identity = torch.randint(len(meshes), (images, objects), generator=generator)
    xy = torch.rand(images, objects, 2, generator=generator) * 1.2 - 0.6
    position = torch.cat([xy, torch.full_like(xy[..., :1], meshes[0].rest_height)], dim=-1)
    yaw = 6.28 * torch.rand(images, objects, generator=generator)
    poses = rigid_transform(yaw_rotation(yaw), position).requires_grad_()
    camera, background = camera_of(spec), torch.tensor(spec.background)
    upstream = torch.randn(images, objects + 1, *spec.image_size, 3, generator=generator)

    def step() -> tuple[float, float, float, float]:
        times = [time.perf_counter()]
        layers = render_layers(
            bank,
            Instances(identity, poses),
            camera,
            light=light_of(spec.light),
            softness=spec.render,
        )
        times.append(time.perf_counter())
        prefixes = composite(layers, prefix_selection(objects), background)
        times.append(time.perf_counter())
        maps = (layers.colour, layers.log_weight, layers.log_transmittance)
        gradients = torch.autograd.grad(prefixes.rgb, maps, upstream)
        times.append(time.perf_counter())
        torch.autograd.grad(maps, (poses, bank.colours), gradients)
        times.append(time.perf_counter())
        forward, merge, merge_backward, backward = (
            after - before for before, after in zip(times[:-1], times[1:], strict=True)
        )
        return forward, backward, merge, merge_backward

    return step


def _table(timings: list[Timings], images: int) -> str:
    """Return the timings as text, one line per workload."""
    head = ("layers", "backward", "composite", "backward", "total")
    lines = [f"{'ms':<34}" + "".join(f"{name:>11}" for name in head)]
    for timing in timings:
        label = f"{images} images, {timing.objects} object(s), {timing.faces} faces"
        values = list(asdict(timing).values())[2:]
        lines.append(f"{label:<34}" + "".join(f"{value:>11.1f}" for value in values))
    return "\n".join(lines)


if __name__ == "__main__":
    run(main, Arguments, __doc__)
