"""Draw how cost grows with the size of the problem."""

from collections.abc import Mapping, Sequence
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
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'drawing needs matplotlib; install it by pip install -e ".[plot]", or leave out --plot'
        ) from error
    figure = Figure(figsize=(3.6 * len(sweeps), 3.4), layout="constrained")
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
