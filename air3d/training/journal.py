"""What a training says of itself: ``metrics.jsonl``, the progress bar, TensorBoard."""

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import tqdm
from torch import Tensor

from air3d.files import write_atomically


class Journal:
    """Write figures to ``metrics.jsonl``, beside the progress bar, and to TensorBoard.

    Args:
        out: folder of the training; made if it is not there.
        iteration: where the training stands; lines that an interrupted run wrote after its last
            state are dropped.
        total: iterations in all; None where the training ends by the clock.
        tensorboard: write event files to ``out`` as well.

    Raises:
        OSError: ``out`` cannot be written, or TensorBoard is asked for and not installed. Each
            of its methods raises this, too, when the disk is full.
    """

    def __init__(self, out: Path, iteration: int, total: int | None, *, tensorboard: bool):
        self._path = out / "metrics.jsonl"
        with _explained(self._path, "choose another --out"):
            out.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, _lines_until(self._path, iteration).encode())
        self._events = _event_writer(out, iteration) if tensorboard else None
        self._bar = tqdm.tqdm(total=total, initial=iteration, disable=None, unit="it")

    def advance(self) -> None:
        """Move the progress bar by one iteration."""
        self._bar.update()

    def write(self, iteration: int, seconds: float, figures: Mapping[str, Tensor | float]) -> None:
        """Add one line of figures."""
        numbers = {name: round(float(value), 5) for name, value in figures.items()}
        line = {"iteration": iteration, "seconds": round(seconds, 1), **numbers}
        with (
            _explained(self._path, "free space there, then --resume"),
            self._path.open("a", encoding="utf-8") as file,
        ):
            file.write(json.dumps(line) + "\n")
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()})
        for name, value in numbers.items():
            if self._events is not None:
                self._events.add_scalar(name, value, iteration)

    def announce(
        self, iteration: int, seconds: float, figures: Mapping[str, Tensor | float]
    ) -> None:
        """Add one line of figures, and print it where no progress bar shows it."""
        self.write(iteration, seconds, figures)
        if self._bar.disable:
            text = ", ".join(f"{name} {float(value):.4g}" for name, value in figures.items())
            print(f"iteration {iteration}, {seconds:.0f} s: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the progress bar and flush the event files."""
        self._bar.close()
        if self._events is not None:
            self._events.close()


def _event_writer(out: Path, iteration: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OSError(
            "--tensorboard: TensorBoard is not installed; run: pip install -e '.[log]'"
        ) from error
    return SummaryWriter(str(out), purge_step=iteration)


@contextlib.contextmanager
def _explained(path: Path, remedy: str) -> Iterator[None]:
    """Let an OSError say which file it is about and what to do."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror}); {remedy}") from error


def _lines_until(path: Path, iteration: int) -> str:
    """Return the journal's lines that are not later than ``iteration``."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return "".join(f"{line}\n" for line in lines if _iteration_of(line) <= iteration)


def _iteration_of(line: str) -> float:
    """Return a line's iteration; infinity for one that a crash cut short."""
    try:
        return float(json.loads(line)["iteration"])
    except (ValueError, KeyError):
        return math.inf
