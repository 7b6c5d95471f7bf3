"""benchmark.py's train, infer and dataset: what they write holds together."""

import json
import time
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT, without_checks
from model_cases import SMALL

from air3d.benchmarks import data_sets, inference_passes, train_steps
from air3d.benchmarks.network_floor import network_floor
from air3d.benchmarks.stopwatch import Stopwatch, Timed
from air3d.checkpoint import save_model
from air3d.models import build_air
from air3d.scene import SceneSpec, load_assets, load_scene

CPU = torch.device("cpu")
NETWORK = (
    "--network.channels", "8", "8", "8", "--network.features", "32", "--network.state", "32",
    "--network.search", "8", "--network.glimpse-size", "16", "--network.glimpse-channels", "8", "8",
    "--network.hidden", "32",
)  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """Return a scene file with small images and at most one object."""
    content = yaml.safe_load((ROOT / "scenes" / "tabletop.yaml").read_text(encoding="utf-8"))
    content["image_size"] = [24, 24]
    content["objects"]["count"] = [0.4, 0.3, 0.3]
    for kind in content["objects"]["types"]:
        kind["mesh"] = str(ROOT / "assets" / "meshes" / Path(kind["mesh"]).name)
    path = tmp_path_factory.mktemp("scene") / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def checkpoint(scene) -> Path:
    """Return a checkpoint of a small network that knows nothing."""
    spec = load_scene(scene)
    assert isinstance(spec, SceneSpec)
    torch.manual_seed(0)
    folder = scene.parent / "checkpoint"
    save_model(folder, build_air(spec, SMALL, load_assets(spec)), {})
    return folder


@pytest.fixture
def written(call_script, tmp_path, capsys):
    """Run a subcommand; return its JSON and what it printed."""

    def run(*arguments: str | Path) -> tuple[dict, str]:
        path = tmp_path / "new" / "figures.json"
        with without_checks():
            assert call_script("benchmark.py", *arguments, "--json", path) == 0
        return json.loads(path.read_text(encoding="utf-8")), capsys.readouterr().out

    return run


def check_stages(row: dict, names: tuple[str, ...]) -> None:
    """Check that a row's stages are all there, and add up."""
    assert set(row["stages"]) == set(row["shares"]) == set(names)
    assert min(row["stages"].values()) >= 0
    assert sum(row["stages"].values()) == pytest.approx(row["step"])
    assert sum(row["shares"].values()) == pytest.approx(1.0)
    for name, share in row["shares"].items():
        assert share == pytest.approx(row["stages"][name] / row["step"])
    assert row["peak"] is None or row["peak"] >= 0


def test_training_is_told_by_phase_and_stage(written, scene):
    options = ("--scene", scene, *NETWORK, "--batch", "4", "--runs", "2")
    content, printed = written("train", *options)
    rows = {row["phase"]: row for row in content["training_steps"]}
    assert list(rows) == ["sleep", "wake", "mixed"]
    assert content["network"]["state"] == 32 and content["provenance"]["seed"] == 0
    for phase, row in rows.items():
        check_stages(row, train_steps.STAGES)
        missing = {name for name, time in row["stages"].items() if time == 0}
        assert missing == ({train_steps.HYPOTHESES} if phase == "sleep" else set())
        assert row["steps_per_second"] > 0 and row["batch"] == 4
        assert f"{phase}: {row['steps_per_second']:.2f} steps a second" in printed
        floor = row["floor"]
        assert floor["arithmetic"] == pytest.approx(
            1e3 * floor["convolution_gigaflops"] / floor["convolution_speed"]
            + 1e3 * floor["matrix_gigaflops"] / floor["matrix_speed"]
        )
        assert floor["traffic"] == pytest.approx(1e3 * floor["gigabytes"] / floor["memory_speed"])
    operations = {phase: set(row["operations"]) for phase, row in rows.items()}
    assert "rasterize_layers_backward" in operations["wake"] - operations["sleep"]
    work = {phase: row["floor"]["convolution_gigaflops"] for phase, row in rows.items()}
    assert work["mixed"] == pytest.approx(work["sleep"] + work["wake"])


def test_inference_is_told_by_effort_batch_and_stage(written, checkpoint):
    options = ("--batch", "1", "3", "--search-batch", "2", "--refine-steps", "4", "--rounds", "1")
    content, _ = written("infer", "--checkpoint", checkpoint, *options, "--runs", "1")
    rows = content["inference_passes"]
    asked = [(row["effort"], row["batch"]) for row in rows]
    assert asked == [("one pass", 1), ("one pass", 3), ("4 steps", 2), ("4 steps, 1 rounds", 2)]
    for row in rows:
        check_stages(row, inference_passes.STAGES)
        assert row["images_per_second"] > 0
    occurred = [{name for name, time in row["stages"].items() if time} for row in rows]
    of_one_pass = {"encoder", "what is left over", "heads", "estimates"}
    of_refinement = {"lights and turns", "pulling in", "settling"}
    assert occurred[0] == of_one_pass
    assert occurred[2] == of_one_pass | of_refinement
    assert occurred[3] == set(inference_passes.STAGES)


def test_data_sets_are_told_by_stage(written, scene):
    content, printed = written("dataset", "--scenes", scene, "--count", "20", "--runs", "1")
    (row,) = content["data_sets"]
    check_stages(row, data_sets.STAGES)
    assert all(row["stages"].values())
    assert (row["size"], row["count"]) == ([24, 24], 20)
    assert row["images_per_second"] > 0 and row["bytes_per_image"] > 500
    assert "20 images of 24x24" in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("what", ["train", "infer"])
def test_a_gpu_that_is_not_there_is_refused(call_script, tmp_path, what):
    answer = call_script("benchmark.py", what, "--gpu", "--json", tmp_path / "x.json")
    assert "--gpu: torch finds no CUDA device here" in str(answer)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "--batch", "0"), "--batch must be at least 1, got 0"),
        (("train", "--scene", ROOT / "scenes" / "multi_mnist.yaml"), "is a scene of glimpses"),
        (("infer", "--search-batch", "4", "0"), "--search-batch must be at least 1, got 0"),
        (("infer", "--rounds", "-1"), "--rounds must be at least 0, got -1"),
        (("infer", "--checkpoint", ROOT / "assets/checkpoints/multi_mnist"), "a 2D checkpoint"),
        (("dataset", "--count", "0"), "--count must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(call_script, capsys, arguments, sentence):
    answer = call_script("benchmark.py", *arguments)
    said = " ".join(f"{answer} {capsys.readouterr().err}".replace("│", " ").split())
    assert answer != 0 and sentence in said


def test_the_network_that_is_trained_is_that_of_the_shipped_checkpoint():
    config = (ROOT / "assets" / "checkpoints" / "tabletop" / "config.yaml").read_text()
    sizes = yaml.safe_load(config)["model"]
    network = train_steps.TABLETOP
    assert {name: sizes[name] for name in vars(network)} == {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(network).items()
    }


class Program:
    """A program with a stage within a stage, and the only clock that there is while it runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds, self.faulty = 0.0, False
        monkeypatch.setattr(time, "perf_counter", lambda: self.seconds)

    def outer(self) -> str:
        self.seconds += 2.0
        self.inner()
        self.seconds += 1.0
        return "done"

    def inner(self) -> None:
        self.seconds += 4.0
        if self.faulty:
            raise ValueError("faulty")


def test_a_stage_within_a_stage_is_told_apart_and_functions_stay_as_they_are(monkeypatch):
    program, stopwatch, untouched = Program(monkeypatch), Stopwatch(CPU), Program.inner
    functions = [Timed(program, "outer", "outer"), Timed(Program, "inner", "inner")]
    with stopwatch.watching(functions):
        for _ in range(2):
            assert program.outer() == "done"
    program.outer()  # is not watched any more
    assert Program.inner is untouched and "outer" not in vars(program)
    times = stopwatch.milliseconds(2, ["outer", "inner", "never"])
    assert times == {"outer": 3000.0, "inner": 4000.0, "never": 0.0}


def test_an_error_leaves_no_stage_open(monkeypatch):
    program, stopwatch = Program(monkeypatch), Stopwatch(CPU)
    program.faulty = True
    with stopwatch.watching([Timed(program, "inner", "inner")]):
        for _ in range(2):
            with pytest.raises(ValueError, match="faulty"):
                program.inner()
            program.seconds += 8.0  # is no stage's time
    assert stopwatch.milliseconds(1, []) == {"inner": 8000.0}


def test_the_floor_counts_arithmetic_and_traffic_forward_and_backward():
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    kernels, weights = torch.randn(5, 3, 3, 3), torch.randn(7, 5, requires_grad=True)

    def step() -> None:
        maps = torch.nn.functional.conv2d(images, kernels, padding=1)
        (maps.mean(dim=(2, 3)) @ weights.T).sum().backward()

    floor = network_floor(step, CPU, torch.float32)
    once = 2 * 2 * 5 * 8 * 8 * 3 * 3 * 3
    assert floor.convolution_gigaflops == pytest.approx(
        1e-9 * 2 * once
    )  # the images' gradient, too
    product = 2 * 2 * 5 * 7
    assert floor.matrix_gigaflops == pytest.approx(1e-9 * 3 * product)
    assert 1e9 * floor.gigabytes > 4 * 2 * (images.numel() + kernels.numel() + 2 * 5 * 64)
    assert min(floor.convolution_speed, floor.matrix_speed, floor.memory_speed) > 0


def test_a_view_moves_nothing():
    large = torch.zeros(100, 100)
    assert (
        network_floor(lambda: large.T[:50].unflatten(1, (10, 10)), CPU, torch.float32).gigabytes
        == 0
    )
    copied = network_floor(lambda: large.clone(), CPU, torch.float32)
    assert copied.gigabytes == pytest.approx(1e-9 * 2 * 4 * 10_000)
