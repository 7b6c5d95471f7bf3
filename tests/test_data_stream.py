"""The stream of rendered scenes is a pure function of scene file, seed and index."""

import itertools
import math
import threading
from pathlib import Path

import pytest
import torch

from air3d.data import Prefetch, SceneStream
from air3d.data.prefetch import one_ahead
from air3d.scene import SceneSpec, load_scene

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def spec() -> SceneSpec:
    spec = load_scene(ROOT / "scenes" / "single_object.yaml")
    assert isinstance(spec, SceneSpec)
    return spec.model_copy(update={"image_size": (24, 32)})


def test_a_batch_depends_on_seed_and_index_alone(spec):
    stream, resumed = (SceneStream(spec, batch=3, seed=7) for _ in range(2))
    in_order = [stream.batch(index) for index in range(3)]
    later = resumed.batch(2)
    assert torch.equal(later.images, in_order[2].images)
    assert torch.equal(later.scenes.position, in_order[2].scenes.position)
    assert not torch.equal(in_order[0].images, in_order[1].images)
    assert not torch.equal(SceneStream(spec, batch=3, seed=8).batch(0).images, in_order[0].images)


def test_neighbouring_seeds_and_indices_do_not_share_batches(spec):
    draws = [
        tuple(SceneStream(spec, batch=1, seed=seed).batch(index).scenes.yaw.flatten().tolist())
        for seed, index in itertools.product(range(3), range(3))
    ]
    assert len(set(draws)) == 9


def test_iteration_counts_from_zero(spec):
    stream = SceneStream(spec, batch=2, seed=0)
    for index, rendered in enumerate(itertools.islice(stream, 2)):
        assert torch.equal(rendered.images, stream.batch(index).images)
        assert rendered.images.shape == (2, 3, 24, 32) and len(rendered) == 2


def test_the_noise_is_gaussian_with_the_scene_files_deviation(spec):
    stream = SceneStream(spec, batch=16, seed=0)
    rendered = stream.batch(0)
    clean = stream.render(rendered.scenes)
    noise = (rendered.images - clean).flatten() / spec.noise_std
    assert float(noise.mean()) == pytest.approx(0.0, abs=4.5 / math.sqrt(len(noise)))
    assert float(noise.var()) == pytest.approx(1.0, abs=4.5 * math.sqrt(2 / len(noise)))
    assert float(noise.pow(4).mean()) == pytest.approx(3.0, abs=0.3)
    assert 0.0 <= float(clean.min()) and float(clean.max()) <= 1.0


def test_noise_is_not_clamped(spec):
    dark = spec.model_copy(update={"background": (0.0, 0.0, 0.0)})
    assert float(SceneStream(dark, batch=2, seed=0).batch(0).images.min()) < 0.0


def test_scenes_are_the_ones_in_the_images(spec):
    """Where an image shows an object, the object's place projects to it."""
    quiet = spec.model_copy(update={"noise_std": 1e-6})
    stream = SceneStream(quiet, batch=12, seed=1)
    rendered = stream.batch(0)
    background = torch.tensor(quiet.background)[:, None, None]
    shown = (rendered.images - background).abs().amax(dim=1) > 0.02
    rows = torch.arange(24) + 0.5
    for index in range(len(rendered)):
        position = rendered.scenes.position[index, 0]
        at = rendered.scenes.camera.world_to_camera[0] @ torch.cat([position, torch.ones(1)])
        v = float((rendered.scenes.camera.intrinsics[0] @ at[:3])[1] / at[2])
        seen = shown[index].float().sum(dim=1)
        assert float((seen * rows).sum() / seen.sum()) == pytest.approx(v, abs=1.5)


@pytest.mark.parametrize(("batch", "seed"), [(0, 0), (1, -1)])
def test_senseless_settings_are_refused(spec, batch, seed):
    with pytest.raises(ValueError, match="batch must be at least 1 and seed at least 0"):
        SceneStream(spec, batch=batch, seed=seed)


def test_prefetching_gives_the_same_batches_in_any_order():
    asked = []

    def make(index: int) -> int:
        asked.append(index)
        return 10 * index

    prefetch = Prefetch(make)
    assert [prefetch(index) for index in (4, 5, 6, 2, 3)] == [40, 50, 60, 20, 30]
    assert asked[:6] == [4, 5, 6, 7, 2, 3]  # each made once, the next one ahead of time


def test_prefetching_raises_what_making_raises():
    def make(index: int) -> int:
        raise ValueError(f"no batch {index}")

    with pytest.raises(ValueError, match="no batch 3"):
        Prefetch(make)(3)


def test_one_is_made_ahead_in_turn_by_another_thread():
    made, begun = [], threading.Event()

    def make():
        for number in range(4):
            made.append((number, threading.get_ident()))
            if number == 1:
                begun.set()
            yield number

    items = one_ahead(make())
    assert next(items) == 0
    assert begun.wait(timeout=10.0)  # the next one is begun without being asked for
    assert [0, *items] == [0, 1, 2, 3] and [number for number, _ in made] == [0, 1, 2, 3]
    assert threading.get_ident() not in {thread for _, thread in made}


def test_what_is_made_ahead_fails_in_its_turn():
    def make():
        yield 1
        raise ValueError("no more")

    items = one_ahead(make())
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)
