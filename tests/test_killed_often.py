"""Programs that are killed at random moments, again and again, lose nothing and double nothing.

Slow: ``pytest -m slow tests/test_killed_often.py`` takes some ten minutes of two cores.
"""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import ROOT

from air3d.training.states import has_states

KILLS = 25
EARLIEST, LATEST = 2.0, 9.0
"""Seconds after the start; it takes some four to begin to work."""


def kill_again_and_again(command: list[str], options_to_go_on) -> int:
    """Start a command, kill it, and go on; let it end at last. Return how often it was killed."""
    moments, killed = random.Random(0), 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    while True:
        process = subprocess.Popen(
            [sys.executable, *command, *options_to_go_on()], cwd=ROOT, env=environment
        )
        try:
            wait = moments.uniform(EARLIEST, LATEST) if killed < KILLS else None
            assert process.wait(wait) == 0
            return killed
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            killed += 1


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.usefixtures("as_users_run")
def test_a_training_survives_every_kill(call_script, tmp_path):
    sizes = "--network.channels 4 4 4 --network.features 8 --network.state 8 --network.search 4"
    options = f"--iterations 1500 --batch 2 --checkpoint-seconds 0.05 --seed 0 {sizes}".split()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call_script("train_3d.py", "--out", whole, *options) == 0
    command = [str(ROOT / "scripts/train_3d.py"), "--out", str(killed), *options]
    kills = kill_again_and_again(command, lambda: ["--resume"] * has_states(killed))
    assert kills >= 5, "it ended before it could be killed often"
    first, second = (
        safetensors.torch.load_file(out / "model.safetensors") for out in (whole, killed)
    )
    assert all(torch.equal(first[name], second[name]) for name in first | second)
    lines = [
        [json.loads(line)["iteration"] for line in (out / "metrics.jsonl").read_text().splitlines()]
        for out in (whole, killed)
    ]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_a_data_set_survives_every_kill(call_script, tmp_path):
    options = f"{ROOT}/scenes/tabletop_easy.yaml --count 6000 --seed 5 --shard-size 25".split()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call_script("render_dataset.py", *options, "--out", whole) == 0
    command = [str(ROOT / "scripts/render_dataset.py"), *options, "--out", str(killed)]
    assert kill_again_and_again(command, list) >= 5
    assert contents(killed) == contents(whole)
