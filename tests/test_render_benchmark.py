"""benchmark.py: writes its figures with where they come from; refuses bad options."""

import json
import sys
import time

import pytest
import torch

from air3d.benchmarks import Workload, arithmetic_floor, build_scenes, stage_times
from air3d.benchmarks import measure as measure_step
from air3d.benchmarks.floor import ROOM, _projected_faces
from air3d.benchmarks.measure import peak_memory
from air3d.benchmarks.workloads import SOFTNESS
from air3d.render import rasterize
from air3d.render.layers import blur_radius

TINY = ("--images", "2", "1", "--objects", "2", "--faces", "20", "--size", "16", "--runs", "1")


def test_benchmark_writes_what_it_measured(call_script, tmp_path, capsys):
    json_path, plot = tmp_path / "new" / "render.json", tmp_path / "new" / "render.png"
    assert call_script("benchmark.py", "render", *TINY, "--json", json_path, "--plot", plot) == 0
    content = json.loads(json_path.read_text(encoding="utf-8"))
    sizes = {(row["images"], row["size"], row["faces"], row["objects"]) for row in content["rows"]}
    assert sizes == {(2, 16, 20, 2), (1, 16, 20, 2), (1, 256, 5120, 1)}
    for row in content["rows"]:
        assert 0 < row["forward"] < row["total"]
    paths = {row["path"] for row in content["rows"]}
    assert {"fused", "fused, all prefixes", "fragments, K=8", "fragments, K=50"} <= paths
    assert {"project", "rasterize_layers", "rasterize_layers_backward"} <= set(content["stages"])
    assert content["floor"]["box_tests"] >= content["floor"]["fragments"] > 0
    assert content["provenance"]["threads"] >= 1
    assert "2 x 16^2, 2 x 20 faces" in capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_benchmark_refuses_no_runs(call_script, tmp_path, capsys):
    assert call_script(
        "benchmark.py", "render", "--runs", "0", "--json", tmp_path / "x.json"
    ) not in (
        0,
        None,
    )
    assert "--runs must be at least 1, got 0" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_peak_memory_is_what_a_step_takes_though_it_gives_it_back():
    megabytes = peak_memory(lambda: torch.ones(16, 1024, 1024).max())
    if megabytes is None:
        pytest.skip("this system does not tell a process's peak")
    assert 63 < megabytes < 100


def test_the_floor_counts_what_faces_reach():
    """A sphere of many faces covers each pixel of its disc twice, front and back, at the least."""
    scenes = build_scenes(Workload(images=1, size=64, faces=1280, objects=1))
    floor = arithmetic_floor(scenes)
    disc = 3.14 * (0.2 / 3.2 / 0.354 * 32) ** 2
    assert 2 * disc < floor.fragments < floor.box_tests


def test_the_floor_counts_more_fragments_than_lists_have_room_for():
    """Small pixels on a fine mesh; as many as lists with room for every face hold."""
    scenes = build_scenes(Workload(images=1, size=8, faces=1280, objects=2))
    faces = _projected_faces(scenes)
    first = torch.arange(2) * 1280
    fragments = rasterize(
        faces.flatten(0, 1),
        first,
        torch.full_like(first, 1280),
        image_size=(8, 8),
        blur_radius=blur_radius(SOFTNESS.sigma),
        faces_per_pixel=1280,
    )
    shown = fragments.pix_to_face >= 0
    assert shown[..., ROOM].any()
    assert arithmetic_floor(scenes).fragments == shown.sum()


class ColdStep:
    """A step whose first run is slow, forward and backward, as where kernels are compiled."""

    def __init__(self) -> None:
        self.leaf = torch.ones(3, requires_grad=True)
        self.runs = 0

    def __call__(self) -> torch.Tensor:
        self.runs += 1
        if self.runs == 1:
            time.sleep(0.05)
        return 2.0 * self.leaf


def test_a_cold_start_does_not_make_a_step_slow(monkeypatch):
    monkeypatch.setattr(sys.modules["air3d.benchmarks.measure"], "SLOW", 40.0)
    step = ColdStep()
    cost = measure_step(step, [step.leaf], runs=5)
    assert step.runs == 2 + 5 and cost.total < 40.0


def test_stages_are_timed_when_warm():
    backward = []
    leaf = torch.ones(3, requires_grad=True)
    leaf.register_hook(lambda gradient: backward.append(gradient))
    stage_times(lambda: 2.0 * leaf, [leaf], runs=3)
    assert len(backward) == 1 + 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--plot", "x.xyz"), "--plot x.xyz: is no picture's name; end it in .png or .svg"),
        (("--images", "1", "--objects", "1", "--faces", "20", "--plot", "x.png"), "nothing does"),
    ],
)
def test_a_plot_that_cannot_be_drawn_is_refused_before_the_work(
    call_script, tmp_path, monkeypatch, arguments, sentence
):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    answer = call_script("benchmark.py", "render", "--size", "16", *arguments)
    assert sentence in str(answer) and not list(tmp_path.iterdir())
