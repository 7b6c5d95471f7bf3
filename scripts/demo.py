"""The main job in one go: make images, infer what is in them, score it, write a report.

Renders fresh scenes from scenes/single_object.yaml, infers each image's object and pose with the
checkpoint in assets/ (one pass of the network, then refinement through the renderer), and counts
handwritten digits on fresh Multi-MNIST canvases with another. Leaves in --out:

* report.html    figures, pictures, and scenes to turn with the mouse; one file, works offline
* figures.json   the figures, with machine, versions, commit and seed
* scenes/        the rendered scenes with their truth, a BOP data set
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from air3d.checkpoint import load_model
from air3d.cli import run
from air3d.data import BopPlan, DataError, load_digits, make_multi_mnist, write_bop
from air3d.estimate import SceneEstimate
from air3d.evaluation import (
    CountMetrics,
    SceneMetrics,
    TestSet,
    count_metrics,
    load_test_set,
    scene_metrics,
    to_json,
)
from air3d.inference import infer
from air3d.inspection import report
from air3d.models import Air
from air3d.provenance import Provenance, provenance, write_json
from air3d.scene import GlimpseSpec, SceneSpec, load_scene

ROOT = Path(__file__).resolve().parent.parent
REFINE_STEPS = 40
CANVASES = 500
BATCH = 50
SHOWN_SCENES, SHOWN_VIEWERS, SHOWN_CANVASES = 6, 3, 24


@dataclass(frozen=True)
class Arguments:
    """Where the report goes, and of what."""

    out: Path = Path("demo_out")
    """Folder for the report; an earlier demo's files there are replaced."""
    count: int = 100
    """Number of scenes to render."""
    seed: int = 0
    """Another seed gives other scenes and canvases."""
    mnist_dir: Path | None = None
    """Folder of MNIST's four files (default: $AIR3D_MNIST, else a download)."""


@dataclass(frozen=True)
class SceneResults:
    """What became of the rendered scenes: by one pass of the network, and refined."""

    model: Air
    test_set: TestSet
    estimates: list[SceneEstimate]
    one_pass: SceneMetrics
    refined: SceneMetrics
    seconds: float


@dataclass(frozen=True)
class DigitResults:
    """What became of the canvases."""

    test_set: TestSet
    estimates: list[SceneEstimate]
    metrics: CountMetrics


def main(arguments: Arguments) -> None:
    """Make the data, infer, evaluate, report."""
    start = time.perf_counter()
    if arguments.count < 1 or arguments.seed < 0:
        raise DataError("--count must be at least 1 and --seed at least 0")
    scenes = demo_scenes(arguments)
    digits = demo_digits(arguments)
    with _timed("writing the report"):
        path = arguments.out / "report.html"
        _write(arguments.out, scenes, digits, provenance(arguments.seed))
    for label, value in {**scene_figures(scenes), **digit_figures(digits)}.items():
        print(f"  {value:>10}  {label}")
    print(f"{path.resolve()}  ({time.perf_counter() - start:.0f} s in all)")


def demo_scenes(arguments: Arguments) -> SceneResults:
    """Render scenes, infer them without and with refinement, and compare with the truth."""
    model = load_model(ROOT / "assets" / "checkpoints" / "single_object")
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    assert isinstance(spec, SceneSpec)
    folder = arguments.out / "scenes"
    if (folder / "dataset_info.json").is_file():
        shutil.rmtree(folder)
    with _timed(f"rendering {arguments.count} fresh scenes"):
        write_bop(folder, BopPlan(spec, arguments.count, arguments.seed))
    test_set = load_test_set(folder, model.spec, model.meshes)
    with _timed("compiling what is left to compile"):  # or the times below would include it
        infer(model, test_set.images[:1], refine_steps=1)
    with _timed("inferring them in one pass"):
        quick = _infer_all(model, test_set, 0)
    start = time.perf_counter()
    with _timed(f"inferring them with {REFINE_STEPS} steps of refinement"):
        estimates = _infer_all(model, test_set, REFINE_STEPS)
    seconds = time.perf_counter() - start
    assert test_set.scenes is not None
    one_pass, refined = (
        scene_metrics(each, test_set.scenes, model.meshes) for each in (quick, estimates)
    )
    return SceneResults(model, test_set, estimates, one_pass, refined, seconds)


def demo_digits(arguments: Arguments) -> DigitResults:
    """Make canvases from digits that training has not seen, and count what is on them."""
    model = load_model(ROOT / "assets" / "checkpoints" / "multi_mnist")
    assert isinstance(model.spec, GlimpseSpec)
    digits = load_digits("test", folder=arguments.mnist_dir)
    with _timed(f"counting digits on {CANVASES} canvases made from {digits.source}"):
        canvases = make_multi_mnist(model.spec, digits, CANVASES, arguments.seed)
        images = canvases.images[:, None].float() / 255.0
        test_set = TestSet(images, canvases.counts, None, canvases.source)
        estimates = _infer_all(model, test_set, 0)
    metrics = count_metrics([each.count for each in estimates], canvases.counts.tolist())
    return DigitResults(test_set, estimates, metrics)


def scene_figures(results: SceneResults) -> dict[str, str]:
    """The figures of the 3D part, for people."""
    steps = f"after {REFINE_STEPS} refinement steps"
    figures = {
        "identity right": _percent(results.refined.identity_accuracy),
        "position error (median), one pass": _percent(
            results.one_pass.position_in_diameters.median
        ),
        f"position error, {steps}": _percent(results.refined.position_in_diameters.median),
        "yaw error (median, up to symmetry), one pass": _degrees(
            results.one_pass.yaw_degrees.median
        ),
        f"yaw error, {steps}": _degrees(results.refined.yaw_degrees.median),
        "time per image, refinement included": (
            f"{1000 * results.seconds / len(results.test_set):.0f} ms"
        ),
    }
    return figures


def digit_figures(results: DigitResults) -> dict[str, str]:
    """The figures of the 2D part, for people."""
    per_count = {
        f"of {number} on the canvas": _percent(share)
        for number, share in enumerate(results.metrics.per_count)
        if share is not None
    }
    return {"number of digits right": _percent(results.metrics.accuracy), **per_count}


def _write(out: Path, scenes: SceneResults, digits: DigitResults, origin: Provenance) -> None:
    write_json(
        out / "figures.json",
        {
            "scenes": {
                "one_pass": to_json(scenes.one_pass),
                "refined": to_json(scenes.refined),
                "refine_steps": REFINE_STEPS,
            },
            "digits": {"source": digits.test_set.source, "metrics": to_json(digits.metrics)},
            "provenance": asdict(origin),
        },
    )
    meshes = scenes.model.meshes
    seen = _pick_scenes(scenes)
    sections = [
        report.figures_section(
            "3D: which object, where, how turned",
            scene_figures(scenes),
            f"On {len(scenes.test_set)} scenes rendered for this report with seed {origin.seed}. "
            "A position error is a share of the object's diameter.",
        ),
        report.scenes_section(
            "What it saw and what it found",
            seen,
            meshes,
            "Outlines and axes are drawn from the inferred pose; the reconstruction is that pose, "
            "rendered. The standard deviations are the network's own, before refinement.",
        ),
        report.viewers_section(
            "The inferred scenes, to turn",
            seen[:SHOWN_VIEWERS],
            meshes,
            "Drag to turn, scroll to zoom. The wire pyramid is the camera, with its picture.",
        ),
        report.figures_section(
            "2D: how many digits",
            digit_figures(digits),
            f"{len(digits.test_set)} canvases of up to two digits from {digits.test_set.source}; "
            "counted by the same inference loop with patches in the renderer's place.",
        ),
        report.patches_section("Canvases", _pick_canvases(digits), ""),
    ]
    report.write_report(
        out / "report.html",
        title="From images to objects",
        lead="A network looks at a picture and says which object it shows, where it stands and how "
        "it is turned; a differentiable renderer then makes the answer exact. All it was given "
        "to learn from are meshes and a scene file: nobody labelled an image.",
        sections=sections,
        footer=f"{origin.command} · seed {origin.seed} · commit {origin.commit or 'unknown'} · "
        f"{origin.processor}, {origin.cores} cores · {origin.time}",
    )


def _pick_scenes(results: SceneResults) -> list[report.Seen]:
    """Take the meshes in turn, so that each is shown."""
    scenes = results.test_set.scenes
    assert scenes is not None
    by_mesh = [
        (scenes.identity[:, 0] == i).nonzero()[:, 0] for i in range(len(results.model.meshes))
    ]
    longest = max(len(rows) for rows in by_mesh)
    order = [int(rows[k]) for k in range(longest) for rows in by_mesh if k < len(rows)]
    return [_see(results, row) for row in order[:SHOWN_SCENES]]


def _see(results: SceneResults, row: int) -> report.Seen:
    """Show one scene, with a remark on how far off its estimate is."""
    one = results.test_set
    assert one.scenes is not None
    truth = type(one.scenes)(
        one.scenes.identity[row : row + 1],
        one.scenes.position[row : row + 1],
        one.scenes.yaw[row : row + 1],
    )
    metrics = scene_metrics([results.estimates[row]], truth, results.model.meshes)
    name = results.model.meshes[int(truth.identity[0, 0])].name
    metres, degrees = metrics.position_metres.median, metrics.yaw_degrees.median
    remark = f"The truth: a {name.replace('_', ' ')}"
    if metres is not None:
        remark += f", {1000 * metres:.2f} mm away"
    if degrees is not None:
        remark += f", turned by another {_degrees(degrees)}"
    return report.Seen(f"scene {row}", one.images[row], results.estimates[row], f"{remark}.")


def _pick_canvases(results: DigitResults) -> list[report.Seen]:
    counts = results.test_set.counts.tolist()
    return [
        report.Seen(
            f"{counts[row]} on the canvas", results.test_set.images[row], results.estimates[row]
        )
        for row in range(min(SHOWN_CANVASES, len(counts)))
    ]


def _infer_all(model: Air, test_set: TestSet, refine_steps: int) -> list[SceneEstimate]:
    return [
        estimate
        for images in test_set.images.split(BATCH)
        for estimate in infer(model, images, refine_steps=refine_steps)
    ]


def _percent(share: float | None) -> str:
    return (
        "none"
        if share is None
        else f"{100 * share:.4g} %"
        if share >= 0.1
        else f"{100 * share:.2g} %"
    )


def _degrees(degrees: float | None) -> str:
    return "none" if degrees is None else f"{degrees:.2f}°" if degrees < 10 else f"{degrees:.0f}°"


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    """Say what is being done, and afterwards how long it took."""
    print(f"{what} ... ", end="", flush=True)
    start = time.perf_counter()
    yield
    print(f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    run(main, Arguments, __doc__)
