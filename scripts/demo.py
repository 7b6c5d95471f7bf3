"""The main job in one go: make images, infer what is in them, score it, write a report.

Renders fresh laid tables from scenes/tabletop.yaml, infers what stands on each, where, and from
where it is seen, with the checkpoint in assets/ (one pass of the network, then a search through
the renderer), and counts handwritten digits on fresh Multi-MNIST canvases with another. In --out
it leaves:

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
from air3d.cli import InputError, run
from air3d.data import BopPlan, load_digits, make_multi_mnist, write_bop
from air3d.evaluation import CountMetrics, Evaluation, TestSet, evaluate, load_test_set, to_json
from air3d.inference import Effort
from air3d.inspection import report
from air3d.inspection.scores import (
    canvas_examples,
    count_figures,
    scene_examples,
    scene_figures,
)
from air3d.models import Air
from air3d.provenance import Provenance, provenance, write_json
from air3d.scene import GlimpseSpec, SceneSpec, load_scene

ROOT = Path(__file__).resolve().parent.parent
EFFORT = Effort(refine_steps=40, rounds=2)
CANVASES = 500
SHOWN_SCENES, SHOWN_VIEWERS, SHOWN_CANVASES = 6, 3, 24


@dataclass(frozen=True)
class Arguments:
    """Where the report goes, and of what."""

    out: Path = Path("demo_out")
    """Folder for the report; an earlier demo's files there are replaced."""
    count: int = 40
    """Number of scenes to render."""
    seed: int = 0
    """Another seed gives other scenes and canvases."""
    mnist_dir: Path | None = None
    """Folder of MNIST's four files (default: $AIR3D_MNIST, else a download)."""


@dataclass(frozen=True)
class SceneResults:
    """What became of the rendered scenes: by one pass of the network, and by a search after it."""

    model: Air
    test_set: TestSet
    one_pass: Evaluation
    searched: Evaluation

    @property
    def figures(self) -> dict[str, str]:
        """Label -> value."""
        return scene_figures(self.one_pass, self.searched)


@dataclass(frozen=True)
class DigitResults:
    """What became of the canvases."""

    test_set: TestSet
    evaluation: Evaluation

    @property
    def figures(self) -> dict[str, str]:
        """Label -> value."""
        assert isinstance(self.evaluation.metrics, CountMetrics)
        return count_figures(self.evaluation.metrics)


def main(arguments: Arguments) -> None:
    """Make the data, infer, evaluate, report."""
    start = time.perf_counter()
    if arguments.count < 1 or arguments.seed < 0:
        raise InputError("--count must be at least 1 and --seed at least 0")
    scenes = demo_scenes(arguments)
    digits = demo_digits(arguments)
    with _timed("writing the report"):
        origin, path = provenance(arguments.seed), arguments.out / "report.html"
        write_figures(arguments.out / "figures.json", scenes, digits, origin)
        write_report(path, scenes, digits, origin)
    for label, value in {**scenes.figures, **digits.figures}.items():
        print(f"  {value:>10}  {label}")
    print(f"{path.resolve()}  ({time.perf_counter() - start:.0f} s in all)")


def demo_scenes(arguments: Arguments) -> SceneResults:
    """Render scenes, infer them without and with a search, and compare with the truth."""
    model = load_model(ROOT / "assets" / "checkpoints" / "tabletop")
    spec = load_scene(ROOT / "scenes" / "tabletop.yaml")
    assert isinstance(spec, SceneSpec)
    folder = arguments.out / "scenes"
    if (arguments.out / "figures.json").is_file() and (folder / "dataset_info.json").is_file():
        shutil.rmtree(folder)  # an earlier demo's; another data set there is left alone
    with _timed(f"rendering {arguments.count} fresh scenes"):
        write_bop(folder, BopPlan(spec, arguments.count, arguments.seed))
    test_set = load_test_set(folder, model.spec, model.meshes)
    with _timed("inferring them in one pass"):
        one_pass = evaluate(model, test_set)
    with _timed(f"inferring them with a search ({EFFORT})"):
        searched = evaluate(model, test_set, effort=EFFORT)
    return SceneResults(model, test_set, one_pass, searched)


def demo_digits(arguments: Arguments) -> DigitResults:
    """Make canvases from digits that training has not seen, and count what is on them."""
    model = load_model(ROOT / "assets" / "checkpoints" / "multi_mnist")
    assert isinstance(model.spec, GlimpseSpec)
    digits = load_digits("test", folder=arguments.mnist_dir)
    with _timed(f"counting digits on {CANVASES} canvases made from {digits.source}"):
        canvases = make_multi_mnist(model.spec, digits, CANVASES, arguments.seed)
        test_set = TestSet.of_canvases(canvases)
        return DigitResults(test_set, evaluate(model, test_set))


def write_figures(
    path: Path, scenes: SceneResults, digits: DigitResults, origin: Provenance
) -> None:
    """Write all figures as JSON, with where they come from."""
    write_json(
        path,
        {
            "scenes": {
                "one_pass": to_json(scenes.one_pass.metrics),
                "searched": to_json(scenes.searched.metrics),
                "effort": asdict(EFFORT),
            },
            "digits": {
                "source": digits.test_set.source,
                "metrics": to_json(digits.evaluation.metrics),
            },
            "provenance": asdict(origin),
        },
    )


def write_report(
    path: Path, scenes: SceneResults, digits: DigitResults, origin: Provenance
) -> None:
    """Write the page that shows everything."""
    meshes, spec = scenes.model.meshes, scenes.model.spec
    assert isinstance(spec, SceneSpec)
    seen = scene_examples(scenes.model, scenes.test_set, scenes.searched, SHOWN_SCENES)
    canvases = canvas_examples(digits.test_set, digits.evaluation, SHOWN_CANVASES)
    sections = [
        report.figures_section(
            "3D: which objects, where, how turned",
            scenes.figures,
            f"On {len(scenes.test_set)} scenes rendered for this report with seed {origin.seed}. "
            "A position error is a share of the object's diameter.",
        ),
        report.scenes_section(
            "What it saw and what it found",
            seen,
            meshes,
            "Outlines and axes are drawn from the inferred pose; the reconstruction is that pose, "
            "rendered. The standard deviations are the network's own, before refinement.",
            table=spec.table,
        ),
        report.viewers_section(
            "The inferred scenes, to turn",
            seen[:SHOWN_VIEWERS],
            meshes,
            "Drag to turn, scroll to zoom. The wire pyramid is the camera, with its picture; the "
            "yellow arrow is the light's direction.",
            table=spec.table,
        ),
        report.figures_section(
            "2D: how many digits",
            digits.figures,
            f"{len(digits.test_set)} canvases of up to two digits from {digits.test_set.source}; "
            "counted by the same inference loop with patches in the renderer's place.",
        ),
        report.patches_section("Canvases", canvases, ""),
    ]
    report.write_report(
        path,
        title="From images to objects",
        lead="A network looks at a picture and says which objects it shows, where they stand and "
        "how they are turned; a differentiable renderer then makes the answer exact. All it was "
        "given to learn from are meshes and a scene file: nobody labelled an image.",
        sections=sections,
        footer=f"{origin.command} · seed {origin.seed} · commit {origin.commit or 'unknown'} · "
        f"{origin.processor}, {origin.cores} cores · {origin.time}",
    )


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    """Say what is being done, and afterwards how long it took."""
    print(f"{what} ...", flush=True)  # on a line of its own, as progress bars wipe theirs
    start = time.perf_counter()
    yield
    print(f"  {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    run(main, Arguments, __doc__)
