"""render_dataset.py as users meet it: from the command line, killed, continued, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from data_cases import contents, write_mnist

from air3d.data import BopDataset, load_canvases, read_images

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "render_dataset.py"
GLIMPSE = ROOT / "scenes" / "multi_mnist.yaml"


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """Return a scene file with small images, so that the tests are quick."""
    content = yaml.safe_load((ROOT / "scenes" / "single_object.yaml").read_text())
    content["image_size"] = [16, 16]
    for kind in content["objects"]["types"]:
        kind["mesh"] = str(ROOT / "assets" / "meshes" / Path(kind["mesh"]).name)
    path = tmp_path_factory.mktemp("scene") / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def run_here(call_script, capsys):
    """Run the script in this process, which spares the imports: its message, and what it printed.

    The message is None after success; Python prints it and exits with status 1 otherwise.
    """

    def run(*arguments: object) -> tuple[str | None, str]:
        code = call_script(SCRIPT, *arguments)
        return (str(code) if code else None), capsys.readouterr().out

    return run


def test_killed_and_continued_it_makes_the_same_bytes(run_here, scene, tmp_path):
    arguments = [str(scene), "--count", "200", "--seed", "4", "--shard-size", "20"]
    message, printed = run_here(*arguments, "--out", tmp_path / "whole")
    assert message is None and printed.strip() == str(tmp_path / "whole")

    out = tmp_path / "killed"
    command = [sys.executable, str(ROOT / "scripts" / SCRIPT), *arguments, "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None and not (
            (out / "shard-000001.tar").exists() and list(out.glob("*.tar.*.tmp"))
        ):
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not (out / "key_to_shard.json").exists()
    complete = sorted(path.name for path in out.glob("shard-*.tar"))
    assert complete[:2] == ["shard-000000.tar", "shard-000001.tar"] and len(complete) < 10
    times = {name: (out / name).stat().st_mtime_ns for name in complete}

    message, _ = run_here(*arguments, "--out", out)
    assert message is None
    assert {name: (out / name).stat().st_mtime_ns for name in complete} == times
    assert contents(out) == contents(tmp_path / "whole")
    assert len(BopDataset(out)) == 200


def test_the_scenewise_layout_is_written(run_here, scene, tmp_path):
    options = ["--count", 3, "--seed", 0, "--layout", "scenewise"]
    message, _ = run_here(scene, "--out", tmp_path / "s", *options)
    assert message is None
    assert len(read_images(tmp_path / "s")) == 3
    cameras = json.loads((tmp_path / "s/train/000000/scene_camera.json").read_text())
    assert list(cameras) == ["0", "1", "2"]


def test_a_glimpse_scene_becomes_canvases(run_here, tmp_path):
    write_mnist(tmp_path / "mnist", "t10k", 12)
    options = ["--count", 30, "--seed", 0, "--split", "test", "--mnist-dir", tmp_path / "mnist"]
    message, printed = run_here(GLIMPSE, "--out", tmp_path / "d", *options)
    path = tmp_path / "d" / "multi_mnist_test.npz"
    assert message is None and printed.strip() == str(path)
    canvases = load_canvases(path)
    assert canvases.images.shape == (30, 50, 50) and set(canvases.counts.tolist()) <= {0, 1, 2}


def test_a_fault_is_one_sentence_and_an_exit_status(run_script, tmp_path):
    options = ["--count", "2", "--seed", "0"]
    done = run_script(SCRIPT, tmp_path / "gone.yaml", "--out", tmp_path / "x", *options)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"render_dataset: {tmp_path / 'gone.yaml'}: cannot be read")
    assert done.stderr.count("\n") == 1


def test_faults_leave_nothing_behind(run_here, scene, tmp_path):
    (tmp_path / "file").write_text("")
    broken = tmp_path / "file.ply"
    broken.write_text("ply\nnonsense\n")
    content = yaml.safe_load(scene.read_text())
    content["objects"]["types"] = [{"name": "broken", "mesh": str(broken)}]
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(content))
    before = sorted(path.name for path in tmp_path.iterdir())
    x, two = tmp_path / "x", ["--count", 2, "--seed", 0]
    cases = [
        ([scene, "--out", tmp_path / "file" / "x", *two], "cannot be written"),
        ([scene, "--out", tmp_path / "file", *two], "cannot be written"),
        ([tmp_path / "broken.yaml", "--out", x, *two], "file.ply: cannot be read as a mesh"),
        ([scene, "--out", x, "--count", 0, "--seed", 0], "count must be at least 1"),
        ([scene, "--out", x, *two, "--split", "test"], "--split: has no meaning"),
        ([GLIMPSE, "--out", x, *two, "--shard-size", 5], "--shard-size: has no meaning"),
        ([GLIMPSE, "--out", x, *two, "--mnist-dir", tmp_path / "no"], "no: is not a folder"),
    ]
    for arguments, fault in cases:
        message, printed = run_here(*arguments)
        assert message is not None and message.startswith("render_dataset: ")
        assert fault in message and "\n" not in message and printed == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_shard_that_was_cut_is_made_anew(call_script, tmp_path):
    command = ("scenes/single_object.yaml", "--out", tmp_path, "--count", "4", "--seed", "0")
    assert call_script("render_dataset.py", ROOT / command[0], *command[1:]) == 0
    shard = tmp_path / "shard-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    assert call_script("render_dataset.py", ROOT / command[0], *command[1:]) == 0
    assert shard.read_bytes() == whole
