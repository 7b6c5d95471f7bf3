"""Kernels are compiled once: the first call says so, later ones find them kept."""

import os
import re
import subprocess
import sys

from conftest import ROOT

RENDER = """
import torch
from air3d.render import Layers, visibility
layers = Layers(torch.zeros(1, 1, 4, 4, 3), torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
visibility(layers, torch.tensor([[0]]))
from air3d.render.cpu import layer_kernels
print(layer_kernels.rasterize.stats.cache_path)
"""


def run(cache) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", RENDER],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )


def test_compilation_is_announced_until_kernels_are_kept(tmp_path):
    first = run(tmp_path)
    kept = first.stdout.strip()
    assert first.stderr.count("kernels are compiled when first used") == 1
    assert f"kept in {kept}" in first.stderr and str(tmp_path) in kept
    seconds = re.findall(r"air3d: compiled visibility_kernels\.\w+ in (\d+\.\d) s", first.stderr)
    assert len(seconds) == 1 and float(seconds[0]) > 0.0
    with open(f"{kept}/layer_kernels.rasterize-1.py311.nbi", "wb"):
        pass
    assert "compiled" not in run(tmp_path).stderr


def test_the_backend_can_be_imported_where_numba_compiles_nothing():
    program = "import air3d.render.cpu"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
