"""What all tests share: shapes are checked at run time, and one thread is used."""

import contextlib
import os
import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

# Tests work on small arrays and pytest has a worker per core: threads that share a core spin while
# they wait. Said before numpy and torch are imported; workers and scripts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import beartype
import beartype.roar
import hypothesis
import jaxtyping
import pytest
import torch

# Without a GPU the CUDA backend's kernels run in Triton's interpreter, which wants to be asked for
# before triton is imported; importing torch imports none of it.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

ROOT = Path(__file__).resolve().parent.parent


def _checkable_modules() -> list[str]:
    """Return air3d's modules, but for those that compile: a compiler needs the bare function."""
    modules = []
    for path in sorted((ROOT / "air3d").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        compiles = re.search(r"^\s*(import|from) (numba|triton)\b", source, re.MULTILINE)
        if path.name != "__init__.py" and not compiles:
            modules.append(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return modules


def checked(function: Callable) -> Callable:
    """Check a function's arguments and result; beartype cannot where a Protocol is among them."""
    try:
        return beartype.beartype(function)
    except beartype.roar.BeartypeDecorHintPep3119Exception:
        return function


jaxtyping.install_import_hook(_checkable_modules(), f"{__name__}.checked")
hypothesis.settings.register_profile("air3d", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("air3d")


# The longest, or one worker is left alone with them at the end; and beside each other those that
# compile other kernels, or both workers compile the same ones. This needs --no-loadscope-reorder.
FIRST = (
    "test_composite.py",
    "test_training.py",
    "test_rasterize.py",
    "test_render.py",
    "test_render_operations.py",
    "test_ground.py",
    "test_training_killed.py",
    "test_models.py",
    "test_render_dataset.py",
    "test_render_layers_textured.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files named first, in that order; the others follow in theirs."""
    order = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(FIRST)))


@contextlib.contextmanager
def without_checks() -> Iterator[None]:
    """Switch the checks of shapes off, as they are for users; they take a third of the time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def as_users_run() -> Iterator[None]:
    """Run a test without checks of shapes."""
    with without_checks():
        yield


@pytest.fixture(params=["interpreter", "gpu"])
def device(request) -> torch.device:
    """Where Triton's kernels run: on the CPU, interpreted, or on a GPU; the other is skipped."""
    from air3d.render import cuda  # loads Triton

    if (request.param == "gpu") != torch.cuda.is_available() or cuda.interpreted() == (
        request.param == "gpu"
    ):
        pytest.skip(f"Triton's kernels run by no {request.param} here")
    return torch.device("cuda", 0) if request.param == "gpu" else torch.device("cpu")


@pytest.fixture
def run_script() -> Callable[..., subprocess.CompletedProcess]:
    """Start ``scripts/<name>`` as a user would, from the project's folder; text is captured."""

    def run(name: str, *arguments: str | Path, timeout: float = 120.0):
        command = [sys.executable, str(ROOT / "scripts" / name), *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
        )

    return run


@pytest.fixture
def call_script(monkeypatch) -> Callable[..., int | str | None]:
    """Run ``scripts/<name>`` in this process, which saves the imports; return its exit code."""

    def call(name: str, *arguments: str | Path):
        path = str(ROOT / "scripts" / name)
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        # A script sets both for its whole process, which here goes on.
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as stop:
            return stop.code
        finally:
            torch.set_flush_denormal(False)
        return 0

    return call
