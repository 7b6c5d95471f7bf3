"""Make a data set of the images that a scene file describes.

A scene of meshes becomes a BOP data set: images with the scene's noise, depth, masks, poses,
camera and models. A glimpse scene becomes ``NAME_SPLIT.npz`` with canvases and counts. The
same command gives the same bytes; after an interruption it goes on where it stopped.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from air3d import ranks
from air3d.cli import run_together
from air3d.data import (
    BopPlan,
    CanvasPlan,
    DataError,
    Disturbances,
    write_bop,
    write_multi_mnist,
)
from air3d.scene import GlimpseSpec, SceneSpec, load_scene


@dataclass(frozen=True)
class Arguments:
    """What to render, and where to."""

    scene: tyro.conf.Positional[Path]
    """Scene file, e.g. scenes/single_object.yaml."""
    out: Path
    """Folder of the data set; made if it is not there."""
    count: int
    """Number of images."""
    seed: int
    """The same seed gives the same images."""
    layout: Literal["webdataset", "scenewise"] | None = None
    """Scenes of meshes only: BOP's tar shards (default), or loose files for small sets."""
    shard_size: int | None = None
    """Scenes of meshes only: images per shard or scene folder, at most 1000 (default)."""
    supersample: int | None = None
    """Scenes of meshes only: render crisply with N x N samples a pixel, not as the model does."""
    disturbances: Annotated[Disturbances, tyro.conf.arg(name="")] = Disturbances()
    split: Literal["train", "test"] | None = None
    """Glimpse scenes only: which of MNIST's digits (default: train)."""
    mnist_dir: Path | None = None
    """Glimpse scenes only: folder of MNIST's four files (default: $AIR3D_MNIST, a download)."""


def main(arguments: Arguments) -> None:
    """Render the data set; raise one of the errors that :func:`run` reports."""
    spec = load_scene(arguments.scene)
    if isinstance(spec, GlimpseSpec):
        _refuse(arguments, "layout", "shard_size", "supersample", kind="glimpse")
        if arguments.disturbances:
            disturbed = arguments.disturbances.describe()
            raise DataError(f"{disturbed}: has no meaning for the glimpse scene {arguments.scene}")
        path = _make_canvases(arguments, spec)
    else:
        _refuse(arguments, "split", "mnist_dir", kind="mesh")
        path = _render_scenes(arguments, spec)
    print(path)


def _refuse(arguments: Arguments, *names: str, kind: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise DataError(f"{option}: has no meaning for the {kind} scene {arguments.scene}")


def _make_canvases(arguments: Arguments, spec: GlimpseSpec) -> Path:
    plan = CanvasPlan(spec, arguments.count, arguments.seed, arguments.split or "train")
    if not ranks.is_first():  # they are made in seconds, into one file
        return arguments.out
    return write_multi_mnist(arguments.out, plan, mnist_folder=arguments.mnist_dir)


def _render_scenes(arguments: Arguments, spec: SceneSpec) -> Path:
    plan = BopPlan(
        spec,
        arguments.count,
        arguments.seed,
        arguments.layout or "webdataset",
        1000 if arguments.shard_size is None else arguments.shard_size,
        1 if arguments.supersample is None else arguments.supersample,
        arguments.disturbances,
    )
    own = sum(len(plan.part(number)) for number in plan.own_parts)
    hidden = not (ranks.is_first() and sys.stderr.isatty())
    with tqdm(total=own, unit="image", disable=hidden) as bar:
        write_bop(arguments.out, plan, bar.update)
    return arguments.out


if __name__ == "__main__":
    run_together(main, Arguments, __doc__)
