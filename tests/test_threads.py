"""Parts of a batch on threads: what they say, and what torch is left with."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from conftest import ROOT
from model_cases import SMALL

from air3d.data import SceneStream
from air3d.inference import infer, inferring
from air3d.models import build_air
from air3d.render.cpu.threads import for_ranges
from air3d.scene import load_assets, load_scene
from air3d.scene.spec import SceneSpec
from air3d.threads import on_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parts_run_beside_one_another_with_a_thread_each(two_threads):
    """Each waits for the other, so that they end only if both run at once."""
    together = threading.Barrier(2, timeout=20)

    def work(part: int) -> tuple[int, int]:
        together.wait()
        return part, torch.get_num_threads()

    assert on_threads(work, [5, 3]) == [(5, 1), (3, 1)]
    assert torch.get_num_threads() == 2


@pytest.fixture
def no_executor(two_threads, monkeypatch):
    """The first work on threads has its threads to start."""
    monkeypatch.setattr("air3d.threads._pool", None)


def number_on_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_work_on_threads_leaves_new_threads_torchs_number(no_executor):
    assert on_threads(lambda part: part, [0, 1]) == [0, 1]
    assert number_on_a_new_thread() == torch.get_num_threads() == 2


def test_work_that_fails_leaves_new_threads_torchs_number(no_executor):
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda part: 1 // part, [0, 1])
    assert number_on_a_new_thread() == 2


def test_kernels_leave_new_threads_torchs_number(no_executor):
    for_ranges(lambda start, stop: None, 8, [])
    assert number_on_a_new_thread() == 2


def test_an_error_in_a_part_is_the_callers(two_threads):
    def work(part: int) -> int:
        raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match="part 0"):
        on_threads(work, [0, 1])


def test_a_batch_on_threads_is_inferred_as_on_one(two_threads, monkeypatch):
    monkeypatch.setattr(inferring, "WORTH_A_THREAD", 3)
    spec = load_scene(ROOT / "scenes" / "tabletop_easy.yaml")
    assert isinstance(spec, SceneSpec)
    torch.manual_seed(0)
    model = build_air(spec, SMALL, load_assets(spec)).eval()
    images = SceneStream(spec, batch=7, seed=0).batch(0).images
    two = infer(model, images)
    torch.set_num_threads(1)
    one = infer(model, images)
    assert len(two) == 7
    for first, second in zip(one, two, strict=True):
        assert first.count == second.count
        torch.testing.assert_close(first.reconstruction, second.reconstruction, atol=1e-4, rtol=0.0)
