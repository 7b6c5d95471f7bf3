"""A training that is killed and resumed ends where one that is left alone ends, to the bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import ROOT

from air3d.checkpoint import WEIGHTS
from air3d.training.states import has_states, load_state

SCRIPT = "train_3d.py"
SMALL = ("channels 8 16 16", "features 64", "state 64", "search 12", "glimpse-size 16")


def _arguments(out: Path) -> list[str]:
    sizes = [word for size in SMALL for word in f"--network.{size}".split()]
    options = ["--iterations", "25", "--batch", "4", "--checkpoint-seconds", "0"]
    return ["--out", str(out), *options, *sizes]


@pytest.mark.usefixtures("as_users_run")
def test_killed_and_resumed_training_ends_at_the_same_parameters(call_script, tmp_path):
    """One process is killed; this one, which knows nothing of it, goes on."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call_script(SCRIPT, *_arguments(whole)) == 0
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / SCRIPT), *_arguments(killed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if has_states(killed) and load_state(killed)["iteration"] >= 5:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert 5 <= load_state(killed)["iteration"] < 25
    assert call_script(SCRIPT, *_arguments(killed), "--resume") == 0
    first = safetensors.torch.load_file(whole / WEIGHTS)
    second = safetensors.torch.load_file(killed / WEIGHTS)
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different
