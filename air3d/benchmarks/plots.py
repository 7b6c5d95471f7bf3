"""Draw what was measured: costs against the size of the problem, shares against distance."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from pathlib import Path

from air3d.provenance import check_writable


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Attributes:
        panel: name of what varies; curves of the same name share a panel.
        label: name of the way that was measured.
        x: values of what varies, rising.
        y: what was measured at each: milliseconds, or shares in [0, 1].
    """

    panel: str
    label: str
    x: Sequence[float]
    y: Sequence[float]


def curve(panel: str, label: str, points: Sequence[tuple[float, float]]) -> Curve:
    """Return the curve through points, in the order of x."""
    x, y = zip(*sorted(points), strict=True)
    return Curve(panel, label, x, y)


def check_plottable(path: Path) -> None:
    """Check that a plot can be drawn and written, before long work.

    Raises:
        ValueError: matplotlib is not installed, or knows no pictures of the file's kind.
        OSError: no file can be written there.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            '--plot: drawing needs matplotlib; install it by pip install -e ".[plot]", or leave '
            "out --plot"
        ) from error
    kinds = FigureCanvasAgg(Figure()).get_supported_filetypes()
    if path.suffix.lstrip(".").lower() not in kinds:
        raise ValueError(f"--plot {path}: is no picture's name; end it in .png or .svg")
    check_writable(path)


def plot_scaling(path: Path, curves: Sequence[Curve]) -> None:
    """Write one panel per sweep: milliseconds (forward + backward) against what varies.

    Args:
        path: PNG or SVG to write (:func:`check_plottable`).
        curves: those of a panel one after the other.
    """
    panels = _panels(curves)
    figure = _figure(3.6 * len(panels), 3.4)
    for axes, some in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for line in some:
            axes.plot(line.x, line.y, marker="o", markersize=3, label=line.label)
        # Linear growth has slope 1 on doubly logarithmic axes, whatever the speed.
        name, values = some[-1].panel, some[-1].x
        axes.set(xscale="log", yscale="log", xlabel=name, title=f"cost against {name}")
        axes.set_xticks(values, [str(value) for value in values], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("forward + backward (ms)")
    figure.axes[0].legend(fontsize="small")
    _save(figure, path)


def plot_shares(path: Path, curves: Sequence[Curve]) -> None:
    """Write one panel per sweep: the share of objects that come home against how far they were.

    Args:
        path: PNG or SVG to write.
        curves: those of a panel one after the other.
    """
    panels = _panels(curves)
    figure = _figure(4.6 * len(panels), 4.6)
    every = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, some in zip(every, panels, strict=True):
        for line, marker in zip(some, cycle("ovs^Dp")):
            percent = [100 * share for share in line.y]
            axes.plot(line.x, percent, marker=marker, markersize=5, label=line.label)
        axes.set(xlabel=some[0].panel, xlim=(0, None), ylim=(0, 103))
        axes.grid(alpha=0.3)
    every[0].set_ylabel("objects that come home (%)")
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    _save(figure, path)


def _panels(curves: Sequence[Curve]) -> list[list[Curve]]:
    """Return the curves of each panel."""
    return [list(some) for _, some in groupby(curves, key=lambda line: line.panel)]


def _figure(width: float, height: float):
    """Return an empty figure of so many inches."""
    from matplotlib.figure import Figure  # an extra, which few need

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
