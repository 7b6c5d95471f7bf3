"""The project holds together: what is promised to users exists and runs."""

import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT
from PIL import Image

import air3d
from air3d.data.bop import BopDataset, BopPlan, write_bop
from air3d.scene import load_scene

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
SCRIPTS = sorted(set(re.findall(r"python scripts/(\w+\.py)", SHELL)))
HEAVY = {"matplotlib", "numba", "open3d", "pytorch3d", "sklearn", "tensorboard", "triton", "viser"}
OPTION = r"(?<![\w-])--[a-z][a-z0-9.-]*"
EXAMPLE_CHECKPOINT = ROOT / "assets" / "checkpoints" / "single_object"
CHECKPOINT_LIMIT = 10 * 10**6


def test_version_is_said_once():
    assert PROJECT["version"] == air3d.__version__
    assert f"## {air3d.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_import_loads_nothing_heavy():
    program = (
        "import sys, torch; before = set(sys.modules); import air3d; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    imported = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(imported.stdout.split())


@pytest.mark.parametrize("script", SCRIPTS)
def test_readme_commands_exist(script, call_script, capsys):
    assert call_script(script, "--help") == 0
    known = set(re.findall(OPTION, capsys.readouterr().out))
    commands = SHELL.replace("\\\n", " ").splitlines()
    used = {o for line in commands if f"scripts/{script}" in line for o in re.findall(OPTION, line)}
    assert used <= known


def test_readme_make_targets_exist():
    named = set(re.findall(r"^make (\w+)", SHELL, re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {"demo", "test"} <= named <= targets


def test_readme_files_exist():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    mentioned = re.findall(r"(?:scenes|assets)/[\w./-]*\w", SHELL)
    missing = [name for name in links + mentioned if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.skipif(not EXAMPLE_CHECKPOINT.exists(), reason="the checkpoint is not there yet")
def test_readme_example_finds_something(tmp_path, monkeypatch, capsys):
    write_bop(tmp_path / "data", BopPlan(load_scene(EXAMPLE_CHECKPOINT / "scene.yaml"), 1, seed=0))
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    pixels = next(iter(BopDataset(tmp_path / "data"))).rgb.numpy()
    Image.fromarray(pixels).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "tensor(" in capsys.readouterr().out


def test_constraints_pin_every_core_dependency():
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    names = [re.match(r"[\w-]+", line)[0].lower() for line in PROJECT["dependencies"]]
    assert not [name for name in names if f"\n{name}==" not in pinned]
    assert "/" not in pinned and "+" not in pinned, "no local paths and no local builds"


def test_checkpoints_are_small():
    files = [path for path in (ROOT / "assets" / "checkpoints").rglob("*") if path.is_file()]
    assert not [path for path in files if path.stat().st_size >= CHECKPOINT_LIMIT]
