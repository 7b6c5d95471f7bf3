"""Figures as a few lines of text for the terminal."""

from air3d.evaluation.judge import Evaluation
from air3d.evaluation.metrics import CountMetrics, Errors, SceneMetrics


def to_table(evaluation: Evaluation) -> str:
    """Return the figures that matter, one per line, then one line per mesh or per count."""
    metrics = evaluation.metrics
    counts = metrics.count if isinstance(metrics, SceneMetrics) else metrics
    lines = [
        _line("images", f"{counts.images}"),
        _line("images per second", f"{evaluation.images_per_second:.1f}"),
        _line("count right", percent(counts.accuracy)),
    ]
    if isinstance(metrics, SceneMetrics):
        lines += _scene_lines(metrics)
    else:
        lines += _count_lines(metrics)
    return "\n".join(lines)


def _count_lines(metrics: CountMetrics) -> list[str]:
    lines = []
    for count, (accuracy, row) in enumerate(zip(metrics.per_count, metrics.confusion, strict=True)):
        said = ", ".join(f"{number} as {other}" for other, number in enumerate(row) if number)
        if said:
            lines.append(_line(f"  of {count}", f"{percent(accuracy)}  ({said})"))
    return lines


def _scene_lines(metrics: SceneMetrics) -> list[str]:
    yaw = metrics.yaw_degrees
    lines = [
        _line("identity right", percent(metrics.identity_accuracy)),
        _line("position, diameters", _errors(metrics.position_in_diameters, 5)),
        _line("position, metres", _errors(metrics.position_metres, 5)),
        _line("yaw, degrees", f"{_errors(yaw, 2)}, above 10: {percent(yaw.share_bad)}"),
        _line("missed, surplus", f"{metrics.missed}, {metrics.surplus} of {metrics.objects}"),
        _line("all right", percent(metrics.all_right)),
    ]
    for kind in metrics.per_type:
        turned = "" if kind.yaw_degrees is None else f", yaw {_errors(kind.yaw_degrees, 2)}"
        position = _errors(kind.position_in_diameters, 5)
        text = f"identity {percent(kind.identity_accuracy)}, position {position}{turned}"
        lines.append(_line(f"  {kind.name}", text))
    return lines


def _line(label: str, value: str) -> str:
    return f"{label:<22}{value}"


def percent(share: float | None) -> str:
    """Write a share; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.2f} %"


def _errors(errors: Errors, digits: int) -> str:
    if errors.median is None or errors.mean is None:
        return "-"
    return f"{errors.median:.{digits}f} median, {errors.mean:.{digits}f} mean"
