"""What it costs to make a data set, by ``render_dataset.py``'s own path and by stage."""

import tarfile
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

from air3d.benchmarks.ceilings import CPU
from air3d.benchmarks.measure import peak_memory
from air3d.benchmarks.stopwatch import Stopwatch, Timed, seconds_of
from air3d.data import BopPlan, SceneStream, write_bop
from air3d.data.bop import annotate, write
from air3d.scene import ScenePrior, SceneSpec

SCENES, RENDERING, NOISE = "drawing scenes", "rendering", "noise"
SILHOUETTES, ENCODING, ANNOTATING = "silhouettes", "encoding PNG", "annotations"
WRITING, REST = "writing shards", "rest"
STAGES = (SCENES, RENDERING, NOISE, SILHOUETTES, ENCODING, ANNOTATING, WRITING, REST)
"""Where the time goes.

*Silhouettes* are each object's depth by itself; *annotations* cameras, poses, boxes, masks and
their JSON; the *rest* is what is visible, pixels in 8 bits, and what a data set has but once, its
models and its record.
"""


@dataclass(frozen=True)
class DataCost:
    """What it costs to make a data set in tar shards.

    Attributes:
        scene: the scene file's name.
        size: (height, width) of its images.
        count: of images.
        images_per_second: by the script's own path, which draws and renders the next images while
            it writes the last; the median of several data sets.
        step: milliseconds of an image where all is done one after the other, on one thread.
        stages: milliseconds of its ``STAGES``, which add up to ``step``.
        bytes_per_image: on disk, all files of the data set shared out.
        peak: mebibytes at the highest above those before; None where it cannot be known.
    """

    scene: str
    size: tuple[int, int]
    count: int
    images_per_second: float
    step: float
    stages: dict[str, float]
    bytes_per_image: float
    peak: float | None


def measure_data_set(spec: SceneSpec, count: int, runs: int) -> DataCost:
    """Make a data set ``runs`` times, once more by stage, and twice beside; none is kept."""
    plan = BopPlan(spec, count, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_bop(root / "warm", BopPlan(spec, 1, seed=0))  # compiles kernels
        seconds = [
            seconds_of(partial(write_bop, root / str(run), plan), CPU) for run in range(runs)
        ]
        stopwatch = Stopwatch(CPU)
        with mock.patch.object(annotate, "one_ahead", iter), stopwatch.watching(_timed()):
            write.write_bop(root / "stages", plan)
        stages = stopwatch.milliseconds(count, STAGES)
        peak = peak_memory(lambda: write_bop(root / "peak", plan))
        files = [path for path in (root / "peak").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    return DataCost(
        scene=spec.name,
        size=spec.image_size,
        count=count,
        images_per_second=count / median(seconds),
        step=sum(stages.values()),
        stages=stages,
        bytes_per_image=size / count,
        peak=peak,
    )


def _timed() -> list[Timed]:
    """Return the functions that tell the stages apart."""
    said = ["camera_to_bop", "poses_to_bop", "info_to_bop", "mask_to_rle", "depth_to_bop"]
    return [
        Timed(write, "write_bop", REST),
        Timed(SceneStream, "batch", NOISE),
        Timed(ScenePrior, "sample", SCENES),
        Timed(SceneStream, "render", RENDERING),
        Timed(annotate, "find_silhouettes", SILHOUETTES),
        Timed(write, "to_png", ENCODING),
        *(Timed(write, name, ANNOTATING) for name in [*said, "to_json"]),
        Timed(tarfile.TarFile, "addfile", WRITING),
    ]
