"""Test what infers scenes: let it infer every image of a test set, compare with the truth."""

import functools
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from tqdm import tqdm

from air3d import ranks
from air3d.estimate import SceneEstimate
from air3d.evaluation.counts import CountMetrics, count_metrics
from air3d.evaluation.metrics import SceneMetrics, scene_metrics
from air3d.evaluation.test_sets import TestSet
from air3d.evaluation.views import open_numbers
from air3d.inference import ONE_PASS, Effort, infer
from air3d.models import Air
from air3d.randomness import fixed_draws
from air3d.scene import GlimpseSpec, Mesh, SceneSpec


@dataclass(frozen=True)
class Method:
    """Something that infers scenes: a model, or a rival of it.

    Attributes:
        spec: the scene file that it knows.
        meshes: the scene file's; () in 2D.
        infer: images [B, C, H, W] -> an estimate of each.
    """

    spec: SceneSpec | GlimpseSpec
    meshes: tuple[Mesh, ...]
    infer: Callable[[Tensor], Sequence[SceneEstimate]]

    @classmethod
    def of_model(cls, model: Air, effort: Effort = ONE_PASS) -> "Method":
        """Let a model infer with so much effort."""
        return cls(model.spec, model.meshes, functools.partial(infer, model, effort=effort))


@dataclass(frozen=True)
class Scored:
    """What a test says of a method.

    Attributes:
        metrics: of scenes in 3D, of counts in 2D.
        estimates: of each image.
    """

    metrics: SceneMetrics | CountMetrics
    estimates: tuple[SceneEstimate, ...]


@dataclass(frozen=True)
class Evaluation(Scored):
    """What a test says of a method that was seen at work.

    Attributes:
        images_per_second: of inference alone, compilation excluded.
        processor_seconds: an image takes, on all threads together; other programs do not count.
    """

    images_per_second: float
    processor_seconds: float


def evaluate(
    model: Air, test_set: TestSet, batch: int = 64, effort: Effort = ONE_PASS
) -> Evaluation:
    """Infer a test set in batches, with a progress bar on terminals, and score the estimates.

    Args:
        model: what to test.
        test_set: images that fit it (see ``load_test_set``); at least one.
        batch: images at a time; changes the speed, and what effort draws, which goes by batches.
        effort: what is done for each image beyond one pass.

    Raises:
        ValueError: the test set is empty, or ``batch`` is less than 1.
    """
    return evaluate_in_turn([Method.of_model(model, effort)], test_set, batch)[0]


def evaluate_in_turn(
    methods: Sequence[Method], test_set: TestSet, batch: int
) -> tuple[Evaluation, ...]:
    """Test several methods on the same images, batch by batch in turn.

    Whatever else slows the machine then slows all of them alike. Arguments and errors as of
    :func:`evaluate`.
    """
    works = _work(methods, test_set, batch, slice(None))
    return tuple(
        _evaluation(method, test_set, [work]) for method, work in zip(methods, works, strict=True)
    )


def evaluate_together(
    model: Air, test_set: TestSet, batch: int = 64, effort: Effort = ONE_PASS
) -> Evaluation | None:
    """Do as :func:`evaluate`, the batches shared among all ranks (see :mod:`air3d.ranks`).

    Estimates do not depend on how many ranks there are; speed does, and is that of the slowest.

    Returns:
        The evaluation on the first rank, None on the others.
    """
    method = Method.of_model(model, effort)
    (work,) = _work([method], test_set, batch, slice(ranks.rank(), None, ranks.size()))
    works = ranks.gather(work)
    return _evaluation(method, test_set, works) if works else None


@dataclass
class _Work:
    """What a method has done so far: each batch's estimates, and how long all of them took."""

    batches: list[list[SceneEstimate]] = field(default_factory=list)
    seconds: float = 0.0
    processor_seconds: float = 0.0


def _work(methods: Sequence[Method], test_set: TestSet, batch: int, share: slice) -> list[_Work]:
    """Let methods infer a share of the batches; each batch has random numbers of its own."""
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    if len(test_set) == 0:
        raise ValueError("the test set is empty; give one with at least one image")
    for method in methods:
        method.infer(test_set.images[:1])  # compiles kernels
    works = [_Work() for _ in methods]
    quiet = None if ranks.is_first() else True  # None: shown on terminals
    chunks = list(enumerate(torch.split(test_set.images, batch)))[share]
    for number, images in tqdm(chunks, desc="infer", unit="batch", disable=quiet, leave=False):
        for method, work in zip(methods, works, strict=True):
            with fixed_draws(number, images.device):
                start, worked = time.perf_counter(), time.process_time()
                work.batches.append(list(method.infer(images)))
                work.seconds += time.perf_counter() - start
                work.processor_seconds += time.process_time() - worked
    return works


def _evaluation(method: Method, test_set: TestSet, works: Sequence[_Work]) -> Evaluation:
    """Put together what ranks have done, who took the batches in turn."""
    in_turn = itertools.zip_longest(*(work.batches for work in works), fillvalue=[])
    estimates = [each for batches in in_turn for batch in batches for each in batch]
    number = len(test_set)
    return Evaluation(
        _metrics(method.spec, method.meshes, test_set, estimates),
        tuple(estimates),
        number / max(work.seconds for work in works),
        sum(work.processor_seconds for work in works) / number,
    )


def score(
    spec: SceneSpec | GlimpseSpec,
    meshes: tuple[Mesh, ...],
    test_set: TestSet,
    estimates: Sequence[SceneEstimate],
) -> Scored:
    """Score estimates of a test set, one for each image, wherever they come from."""
    return Scored(_metrics(spec, meshes, test_set, estimates), tuple(estimates))


def _metrics(
    spec: SceneSpec | GlimpseSpec,
    meshes: tuple[Mesh, ...],
    test_set: TestSet,
    estimates: Sequence[SceneEstimate],
) -> SceneMetrics | CountMetrics:
    if test_set.scenes is None or not isinstance(spec, SceneSpec):
        counts = [estimate.count for estimate in estimates]
        return count_metrics(counts, test_set.counts.tolist())
    return scene_metrics(estimates, test_set.scenes, meshes, open_numbers(spec))
