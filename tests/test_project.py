"""The project holds together: what is promised to users exists and runs."""

import re
import shutil
import subprocess
import sys
import tomllib

import jaxtyping
import pytest
import torch
from conftest import ROOT

import air3d
from air3d.checkpoint import load_model
from air3d.geometry import transform_points
from air3d.scene import load_scene

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
SCRIPTS = sorted(set(re.findall(r"python scripts/(\w+\.py)", SHELL)))
LOADED_WHEN_USED = {"numba", "open3d", "sklearn", "tensorboard", "triton", "viser"}
OPTION = r"(?<![\w-])--[a-z][a-z0-9.-]*"
CHECKPOINTS = ROOT / "assets" / "checkpoints"
CHECKPOINT_LIMIT = 10 * 10**6


def test_version_is_said_once():
    assert PROJECT["version"] == air3d.__version__
    assert f"## {air3d.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def packages_after(program: str) -> set[str]:
    """Run a program in a fresh interpreter and return the packages that it has loaded."""
    program += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_loads_nothing():
    new = packages_after("import air3d") - packages_after("pass")
    assert new - set(sys.stdlib_module_names) == {"air3d"}


def test_kernels_and_extras_load_when_used():
    modules = ", ".join(f"air3d.inspection.{name}" for name in ("open3d_view", "scores", "web"))
    program = f"import air3d, {modules}; [getattr(air3d, name) for name in air3d.__all__]"
    assert not LOADED_WHEN_USED & packages_after(program)


def test_shapes_are_checked_in_tests():
    with pytest.raises(jaxtyping.TypeCheckError):
        transform_points(torch.eye(4), torch.zeros(5, 2))


@pytest.mark.parametrize("script", SCRIPTS)
def test_readme_commands_exist(script, call_script, capsys):
    commands = SHELL.replace("\\\n", " ").splitlines()
    subcommands = set(re.findall(rf"scripts/{script} ([a-z]+) ", SHELL))
    for words in ([], *([name] for name in subcommands)):
        assert call_script(script, *words, "--help") == 0
    known = set(re.findall(OPTION, capsys.readouterr().out))
    own = [line.split(f"scripts/{script}")[1] for line in commands if f"scripts/{script}" in line]
    used = {option for line in own for option in re.findall(OPTION, line)}
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


def test_readme_example_finds_the_cube(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(compile(EXAMPLES[0], "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("red_cube ")


def test_readme_pose_comes_home(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    result: dict = {}
    exec(compile(EXAMPLES[1], "README.md", "exec"), result)
    capsys.readouterr()
    found = [*result["xy"].tolist(), result["yaw"].item()]
    assert found == pytest.approx([0.2, -0.1, 0.3], abs=0.01)


def test_readme_fragments_become_a_picture(monkeypatch):
    monkeypatch.chdir(ROOT)
    result: dict = {}
    exec(compile(EXAMPLES[2], "README.md", "exec"), result)
    alpha = result["rgba"][0, ..., 3]
    assert alpha.amax() > 0.99 and alpha.amin() == 0.0


def test_constraints_pin_every_core_dependency():
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").lower()
    names = [re.match(r"[\w-]+", line)[0].lower() for line in PROJECT["dependencies"]]
    assert not [name for name in names if f"\n{name}==" not in pinned]
    assert "/" not in pinned and "+" not in pinned, "no local paths and no local builds"


@pytest.mark.parametrize("name", ["single_object", "single_object_so3", "multi_mnist"])
def test_checkpoints_are_here_and_small(name):
    model = load_model(CHECKPOINTS / name)
    assert model.spec == load_scene(CHECKPOINTS / name / "scene.yaml")
    files = [path for path in (CHECKPOINTS / name).rglob("*") if path.is_file()]
    assert not [path for path in files if path.stat().st_size >= CHECKPOINT_LIMIT]


def test_conda_asks_for_what_pip_asks_for():
    environment = (ROOT / "environment.yml").read_text(encoding="utf-8")
    conda = dict(re.findall(r"^  - ([\w-]+) >=([\d.]+)", environment, re.MULTILINE))
    conda["torch"] = conda["pytorch"]
    pip = dict(re.match(r"([\w-]+)>=([\d.]+)", line).groups() for line in PROJECT["dependencies"])
    assert {name: pip[name] for name in pip.keys() & conda.keys()} == {
        name: conda[name] for name in pip.keys() & conda.keys()
    }
    assert set(pip) - set(conda) == {"jaxtyping", "tyro"}, "these come with pip in conda too"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_a_python_without_venv_is_answered_each_time(tmp_path):
    """Debian's Python has no ensurepip; its venv leaves a folder with an interpreter behind."""
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in\n*ensurepip*) exit 1;;\n'
        f'*venv*) mkdir -p {tmp_path}/venv/bin; cp "$0" {tmp_path}/venv/bin/python; exit 1;;\n'
        "esac\n"
    )
    python.chmod(0o755)
    command = ["make", "install", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode != 0 and "apt install python3-venv" in done.stdout
    assert not (tmp_path / "venv").exists()
