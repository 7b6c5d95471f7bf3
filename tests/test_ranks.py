"""Two processes that torchrun starts do together what one does alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import safetensors.torch
import torch
import yaml
from conftest import ROOT
from torch import Tensor

from air3d import ranks
from air3d.data import SceneStream
from air3d.models import Air, SceneConfig, build_air
from air3d.scene import load_scene
from air3d.training import Clock, TrainSettings, take_step
from air3d.training.states import load_state

SIZES = ("channels 4 4 4", "features 8", "state 8", "search 4", "glimpse-size 8", "hidden 8")
SMALL = SceneConfig(
    channels=(4, 4, 4), features=8, state=8, search=4, glimpse_size=8, glimpse_channels=(4, 4)
)


def small_model() -> tuple[Air, Tensor]:
    """Return a model with the same weights in every process, and eight images."""
    stream = SceneStream(load_scene(ROOT / "scenes/tabletop_easy.yaml"), batch=8, seed=0)
    torch.manual_seed(0)
    return build_air(stream.spec, SMALL, stream.meshes), stream.batch(0).images


def half_of(images: Tensor, number: int) -> Tensor:
    return images[4 * number : 4 * number + 4]


def loss_of(model: Air, images: Tensor) -> Tensor:
    """Return a mean over images that draws nothing, and that not all weights have a part in."""
    unrolled = model.mode(images)
    return unrolled.presence_logits.mean() + unrolled.latents.position.square().mean()


def torchrun(*command: str | Path) -> subprocess.CompletedProcess:
    """Let torchrun start two processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*start, *map(str, command)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done


def check_done(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 0, done.stderr[-3000:]


def test_gradients_of_two_halves_are_those_of_the_whole(tmp_path):
    check_done(torchrun(ROOT / "tests/ranks_case.py", tmp_path / "result.pt"))
    result = torch.load(tmp_path / "result.pt", weights_only=True)
    assert result["size"] == 2
    assert result["largest"] == [1.0, 0.0]
    assert [name for name, _ in result["gathered"]] == ["of rank 0", "of rank 1"]
    assert [part.tolist() for _, part in result["gathered"]] == [[0.0, 1.0], [1.0, 2.0]]
    model, images = small_model()
    optimiser = torch.optim.SGD(model.parameters())
    take_step(optimiser, loss_of(model, images), Clock(TrainSettings(iterations=10, warmup=1)))
    moved = 0
    for name, parameter in model.named_parameters():
        together, alone = result["gradients"][name], parameter.grad
        if alone is None:
            assert (together == 0).all()
        else:
            moved += bool((alone != 0).any())
            torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-4)
    assert moved > 10
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(result["weights"][name], weight, atol=1e-7, rtol=1e-5)


def test_alone_there_is_nobody_to_wait_for():
    tensors = [torch.ones(2), torch.zeros(3)]
    ranks.average(tensors)
    with ranks.together():
        assert torch.cat(tensors).tolist() == [1, 1, 0, 0, 0]
    assert (ranks.size(), ranks.rank(), ranks.is_first()) == (1, 0, True)
    assert ranks.largest([2, 3]) == [2, 3] and ranks.gather("part") == ["part"]


def test_a_training_of_two_ranks_goes_on_alone(call_script, tmp_path):
    sizes = [word for size in SIZES for word in f"--network.{size}".split()]
    out = tmp_path / "run"
    options = ["--out", out, "--batch", "4", "--checkpoint-seconds", "0", *sizes]
    done = torchrun(ROOT / "scripts/train_3d.py", *options, "--iterations", "4")
    check_done(done)
    assert done.stdout.split() == [str(out)]
    made = yaml.safe_load((out / "config.yaml").read_text())["training"]
    assert made["ranks"] == 2 and made["iterations"] == 4
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [4]
    state = load_state(out)
    (first,), (second,) = state["random"]
    assert not torch.equal(first, second)
    assert state["batches"] == 8
    before = safetensors.torch.load_file(out / "model.safetensors")
    assert call_script("train_3d.py", *options, "--iterations", "6", "--resume") == 0
    made = yaml.safe_load((out / "config.yaml").read_text())["training"]
    assert made["ranks"] == 1 and made["iterations"] == 6
    assert load_state(out)["batches"] == 10
    after = safetensors.torch.load_file(out / "model.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_ranks_write_the_data_set_that_one_writes(call_script, tmp_path):
    options = [ROOT / "scenes/single_object.yaml", "--count", "7", "--seed", "3"]
    options += ["--shard-size", "2"]
    check_done(torchrun(ROOT / "scripts/render_dataset.py", *options, "--out", tmp_path / "two"))
    assert call_script("render_dataset.py", *options, "--out", tmp_path / "one") == 0
    one, two = (
        {path.relative_to(top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (tmp_path / "one", tmp_path / "two")
    )
    assert sum(path.suffix == ".tar" for path in one) == 4
    assert one == two


def test_ranks_evaluate_as_one_does(call_script, tmp_path):
    data = tmp_path / "data"
    made = ["--count", "10", "--seed", "3", "--out", data]
    assert call_script("render_dataset.py", ROOT / "scenes/single_object.yaml", *made) == 0
    options = ["--checkpoint", ROOT / "assets/checkpoints/single_object", "--data", data]
    options += ["--batch", "3", "--samples", "2"]
    check_done(torchrun(ROOT / "scripts/evaluate.py", *options, "--json", tmp_path / "two.json"))
    assert call_script("evaluate.py", *options, "--json", tmp_path / "one.json") == 0
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    for figure in ("metrics", "fit", "detection", "calibration"):
        assert one[figure] == two[figure]


def test_what_one_rank_refuses_is_said_once_and_leaves_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    options = [ROOT / "scenes/single_object.yaml", "--count", "4", "--seed", "3"]
    done = torchrun(ROOT / "scripts/render_dataset.py", *options, "--out", tmp_path / "out")
    assert done.returncode != 0
    assert done.stderr.count("holds other files (mine.txt)") == 1
    assert "RuntimeError" not in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_scripts_for_one_process_refuse_torchrun(call_script, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = call_script("sheet.py", "--checkpoint", "x", "--data", "x", "--out", "x.png")
    assert str(done) == "sheet: works in one process alone; start it without torchrun"
