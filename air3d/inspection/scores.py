"""Evaluations for people: their figures in words, and examples with how far off they are."""

import itertools
from collections.abc import Sequence

from air3d.evaluation import CountMetrics, Evaluation, SceneMetrics, TestSet, scene_metrics
from air3d.evaluation.tables import percent
from air3d.inspection.report import Seen
from air3d.models import Air
from air3d.scene import Mesh


def scene_figures(one_pass: Evaluation, searched: Evaluation) -> dict[str, str]:
    """Say how well scenes of one test set were inferred, by one pass and by a search after it."""
    before, after = _scenes(one_pass), _scenes(searched)
    return {
        "all right (count, kinds, places), one pass": percent(before.all_right),
        "all right, after a search": percent(after.all_right),
        "number of objects right, after a search": percent(after.count.accuracy),
        "identity right, after a search": percent(after.identity_accuracy),
        "position error (median), one pass": percent(before.position_in_diameters.median),
        "position error, after a search": percent(after.position_in_diameters.median),
        "rotation error (median, up to symmetry), one pass": _degrees(
            before.rotation_degrees.median
        ),
        "rotation error, after a search": _degrees(after.rotation_degrees.median),
        "time per image, one pass": f"{1000 / one_pass.images_per_second:.1f} ms",
        "time per image, with a search": f"{1000 / searched.images_per_second:.0f} ms",
    }


def count_figures(metrics: CountMetrics) -> dict[str, str]:
    """Say how often the number of digits was right, in all and by the true number."""
    by_number = {
        f"of {number} on the canvas": percent(share)
        for number, share in enumerate(metrics.per_count)
        if share is not None
    }
    return {"number of digits right": percent(metrics.accuracy), **by_number}


def scene_examples(
    model: Air, test_set: TestSet, evaluation: Evaluation, number: int
) -> list[Seen]:
    """Show some scenes of a 3D test set, their first objects' meshes in turn."""
    scenes = test_set.scenes
    assert scenes is not None
    first = scenes.identity[:, 0]
    by_mesh = [(first == index).nonzero()[:, 0].tolist() for index in range(len(model.meshes))]
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*by_mesh))
    rows = [row for row in rounds if row is not None][:number]
    return [seen_at(model.meshes, test_set, evaluation, row) for row in rows]


def canvas_examples(test_set: TestSet, evaluation: Evaluation, number: int) -> list[Seen]:
    """Show the first canvases of a 2D test set."""
    rows = range(min(number, len(test_set)))
    return [seen_at((), test_set, evaluation, row) for row in rows]


def seen_at(meshes: Sequence[Mesh], test_set: TestSet, evaluation: Evaluation, row: int) -> Seen:
    """Show one image of a test set, and say what is truly there and how far off the estimate is."""
    image, estimate = test_set.images[row], evaluation.estimates[row]
    if test_set.scenes is None:
        return Seen(f"{int(test_set.counts[row])} on the canvas", image, estimate)
    return Seen(f"scene {row}", image, estimate, _remark(meshes, test_set, evaluation, row))


def _remark(meshes: Sequence[Mesh], test_set: TestSet, evaluation: Evaluation, row: int) -> str:
    """Say what is truly there, and how far off the estimate is."""
    assert test_set.scenes is not None
    truth = test_set.scenes[row : row + 1]
    shown = truth.identity[0, : int(truth.count)].tolist()
    names = [_with_article(meshes[index].name.replace("_", " ")) for index in shown]
    metrics = scene_metrics([evaluation.estimates[row]], truth, meshes)
    remark = f"The truth: {', '.join(names) or 'nothing'}"
    if metrics.position_metres.median is not None:
        remark += f", {1000 * metrics.position_metres.median:.2f} mm away"
    if metrics.rotation_degrees.median is not None:
        remark += f", turned by another {_degrees(metrics.rotation_degrees.median)}"
    return f"{remark}."


def _with_article(name: str) -> str:
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def _scenes(evaluation: Evaluation) -> SceneMetrics:
    assert isinstance(evaluation.metrics, SceneMetrics)
    return evaluation.metrics


def _degrees(degrees: float | None) -> str:
    return "-" if degrees is None else f"{degrees:.2f}\N{DEGREE SIGN}"
