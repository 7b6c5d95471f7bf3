"""Test a model: infer every image of a test set and compare with the truth."""

import time
from dataclasses import dataclass

import torch
from tqdm import tqdm

from air3d.estimate import SceneEstimate
from air3d.evaluation.counts import CountMetrics, count_metrics
from air3d.evaluation.metrics import SceneMetrics, scene_metrics
from air3d.evaluation.test_sets import TestSet
from air3d.evaluation.views import open_numbers
from air3d.inference import ONE_PASS, Effort, infer
from air3d.models import Air
from air3d.scene import SceneSpec


@dataclass(frozen=True)
class Evaluation:
    """What a test says of a model.

    Attributes:
        metrics: of scenes in 3D, of counts in 2D.
        estimates: of each image.
        images_per_second: of inference alone, compilation excluded.
    """

    metrics: SceneMetrics | CountMetrics
    estimates: tuple[SceneEstimate, ...]
    images_per_second: float


def evaluate(
    model: Air, test_set: TestSet, batch: int = 64, effort: Effort = ONE_PASS
) -> Evaluation:
    """Infer a test set in batches, with a progress bar on terminals, and score the estimates.

    Args:
        model: what to test.
        test_set: images that fit it (see ``load_test_set``); at least one.
        batch: images at a time; changes the speed and nothing else.
        effort: what is done for each image beyond one pass.

    Raises:
        ValueError: the test set is empty, or ``batch`` is less than 1.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    if len(test_set) == 0:
        raise ValueError("the test set is empty; give one with at least one image")
    infer(model, test_set.images[:1], effort)  # compiles kernels
    estimates: list[SceneEstimate] = []
    start = time.perf_counter()
    chunks = torch.split(test_set.images, batch)
    for images in tqdm(chunks, desc="infer", unit="batch", disable=None, leave=False):
        estimates.extend(infer(model, images, effort))
    seconds = time.perf_counter() - start
    metrics = _metrics(model, test_set, estimates)
    return Evaluation(metrics, tuple(estimates), len(test_set) / seconds)


def _metrics(
    model: Air, test_set: TestSet, estimates: list[SceneEstimate]
) -> SceneMetrics | CountMetrics:
    if test_set.scenes is None or not isinstance(model.spec, SceneSpec):
        counts = [estimate.count for estimate in estimates]
        return count_metrics(counts, test_set.counts.tolist())
    return scene_metrics(estimates, test_set.scenes, model.meshes, open_numbers(model.spec))
