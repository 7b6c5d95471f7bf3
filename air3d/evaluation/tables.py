"""Figures as a few lines of text for the terminal."""

from air3d.evaluation.calibration import Confidence
from air3d.evaluation.counts import CountMetrics
from air3d.evaluation.figures import Figures
from air3d.evaluation.judge import Evaluation, Scored
from air3d.evaluation.metrics import SceneMetrics
from air3d.evaluation.summaries import Errors


def to_table(evaluation: Scored) -> str:
    """Return the figures that matter, one per line, then one line per mesh or per count."""
    metrics = evaluation.metrics
    counts = metrics.count if isinstance(metrics, SceneMetrics) else metrics
    lines = [
        _line("images", f"{counts.images}"),
        _line("count right", percent(counts.accuracy)),
    ]
    if isinstance(metrics, SceneMetrics):
        lines += _scene_lines(metrics)
    else:
        lines += _count_lines(metrics)
    if isinstance(evaluation, Evaluation):
        lines.append(_line("images per second", f"{evaluation.images_per_second:.1f}"))
    return "\n".join(lines)


def further_table(figures: Figures) -> str:
    """Return the further figures that matter, one per line."""
    calibration = figures.calibration
    lines = [_line("PSNR, dB", _errors(figures.fit.psnr, 2))]
    if figures.fit.elbo is not None:
        lines.append(_line("ELBO, nats", _errors(figures.fit.elbo, 1)))
    lines.append(_line("count, sure / right", _sureness(calibration.count)))
    if calibration.identity is not None:
        lines.append(_line("identity, sure / right", _sureness(calibration.identity)))
    for region in calibration.position or ():
        label = f"within {100 * region.probability:.0f} % regions"
        lines.append(_line(label, percent(region.covered)))
    if figures.detection is not None:
        precisions = figures.detection.bop24
        values = f"{percent(precisions.mssd)} MSSD, {percent(precisions.mspd)} MSPD"
        lines.append(_line("BOP24 precision", f"{percent(precisions.mean)} ({values})"))
    if figures.average_distances is not None:
        lines.append(_line("ADD(-S) below 0.1", percent(figures.average_distances.add_or_s.recall)))
    return "\n".join(lines)


def _sureness(choices: Confidence) -> str:
    return f"{percent(choices.mean)} / {percent(choices.accuracy)}"


def _count_lines(metrics: CountMetrics) -> list[str]:
    lines = []
    for count, (accuracy, row) in enumerate(zip(metrics.per_count, metrics.confusion, strict=True)):
        said = ", ".join(f"{number} as {other}" for other, number in enumerate(row) if number)
        if said:
            lines.append(_line(f"  of {count}", f"{percent(accuracy)}  ({said})"))
    return lines


def _scene_lines(metrics: SceneMetrics) -> list[str]:
    turn = metrics.rotation_degrees
    lines = [
        _line("identity right", percent(metrics.identity_accuracy)),
        _line("position, diameters", _errors(metrics.position_in_diameters, 5)),
        _line("position, metres", _errors(metrics.position_metres, 5)),
        _line("rotation, degrees", f"{_errors(turn, 2)}, above 10: {percent(turn.share_bad)}"),
        *_open_lines(metrics),
        _line("missed, surplus", f"{metrics.missed}, {metrics.surplus} of {metrics.objects}"),
        _line("all right", percent(metrics.all_right)),
        _line("  and turned right", percent(metrics.all_right_and_turned)),
    ]
    for kind in metrics.per_type:
        turned = "" if kind.rotation_degrees is None else _errors(kind.rotation_degrees, 2)
        position = _errors(kind.position_in_diameters, 5)
        text = f"identity {percent(kind.identity_accuracy)}, position {position}"
        lines.append(_line(f"  {kind.name}", text + (turned and f", rotation {turned}")))
    return lines


def _open_lines(metrics: SceneMetrics) -> list[str]:
    """Tell of what a scene file may leave open."""
    figures: dict[str, Errors | None] = {"scale, relative": metrics.scale, "colour": metrics.colour}
    if metrics.camera is not None:
        figures["camera azimuth, deg"] = metrics.camera.azimuth_degrees
        figures["camera elevation, deg"] = metrics.camera.elevation_degrees
        figures["camera eye, metres"] = metrics.camera.eye_metres
    if metrics.light is not None:
        figures["light direction, deg"] = metrics.light.direction_degrees
    known = {name: errors for name, errors in figures.items() if errors is not None}
    return [_line(name, _errors(errors, 3)) for name, errors in known.items()]


def _line(label: str, value: str) -> str:
    return f"{label:<23}{value}"


def percent(share: float | None) -> str:
    """Write a share; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.2f} %"


def _errors(errors: Errors, digits: int) -> str:
    if errors.median is None or errors.mean is None:
        return "-"
    return f"{errors.median:.{digits}f} median, {errors.mean:.{digits}f} mean"
