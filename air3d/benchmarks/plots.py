"""Draw what was measured: costs against the size of the problem, shares against distance."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path


def plot_scaling(
    path: Path, sweeps: Mapping[str, Mapping[str, tuple[Sequence[int], Sequence[float]]]]
) -> None:
    """Write one panel per sweep: milliseconds (forward + backward) against what varies.

    Args:
        path: PNG or SVG to write.
        sweeps: by the name of what varies, by the name of the path: its values and milliseconds.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(3.6 * len(sweeps), 3.4)
    for axes, (name, lines) in zip(
        figure.subplots(1, len(sweeps), squeeze=False)[0], sweeps.items(), strict=True
    ):
        for label, (values, milliseconds) in lines.items():
            axes.plot(values, milliseconds, marker="o", markersize=3, label=label)
        # Linear growth has slope 1 on doubly logarithmic axes, whatever the speed.
        axes.set(xscale="log", yscale="log", xlabel=name, title=f"cost against {name}")
        axes.set_xticks(values, [str(value) for value in values], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("forward + backward (ms)")
    figure.axes[0].legend(fontsize="small")
    _save(figure, path)


def plot_shares(
    path: Path, sweeps: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]]
) -> None:
    """Write one panel per sweep: the share of objects that come home against how far they were.

    Args:
        path: PNG or SVG to write.
        sweeps: by the name of what varies, by the name of the way: its values and shares in [0, 1].

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = _figure(4.6 * len(sweeps), 4.6)
    panels = figure.subplots(1, len(sweeps), squeeze=False, sharey=True)[0]
    for axes, (name, lines) in zip(panels, sweeps.items(), strict=True):
        for (label, (values, shares)), marker in zip(lines.items(), cycle("ovs^Dp")):
            percent = [100 * share for share in shares]
            axes.plot(values, percent, marker=marker, markersize=5, label=label)
        axes.set(xlabel=name, xlim=(0, None), ylim=(0, 103))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("objects that come home (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize="small")
    _save(figure, path)


def _figure(width: float, height: float):
    """Return an empty figure of so many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'drawing needs matplotlib; install it by pip install -e ".[plot]", or leave out --plot'
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
