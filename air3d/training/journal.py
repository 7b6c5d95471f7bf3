"""What a training says of itself: ``metrics.jsonl``, the progress bar, TensorBoard."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import tqdm
from torch import Tensor


class Journal:
    """Write figures to ``metrics.jsonl``, beside the progress bar, and to TensorBoard.

    Args:
        out: folder of the training; made if it is not there.
        iteration: where the training stands; lines that an interrupted run wrote after its last
            state are dropped.
        total: iterations in all; None where the training ends by the clock.
        tensorboard: write event files to ``out`` as well.

    Raises:
        OSError: ``out`` cannot be written, or TensorBoard is asked for and not installed.
    """

    def __init__(self, out: Path, iteration: int, total: int | None, *, tensorboard: bool):
        self._path = out / "metrics.jsonl"
        try:
            out.mkdir(parents=True, exist_ok=True)
            _keep_until(self._path, iteration)
        except OSError as error:
            raise OSError(f"{out}: cannot be written ({error}); choose another --out") from error
        self._events = _event_writer(out, iteration) if tensorboard else None
        self._bar = tqdm.tqdm(total=total, initial=iteration, disable=None, unit="it")

    def advance(self) -> None:
        """Move the progress bar by one iteration."""
        self._bar.update()

    def write(self, iteration: int, seconds: float, figures: Mapping[str, Tensor | float]) -> None:
        """Add one line of figures."""
        numbers = {name: round(float(value), 5) for name, value in figures.items()}
        line = {"iteration": iteration, "seconds": round(seconds, 1), **numbers}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()})
        for name, value in numbers.items():
            if self._events is not None:
                self._events.add_scalar(name, value, iteration)

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


def _keep_until(path: Path, iteration: int) -> None:
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _iteration_of(line) <= iteration]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _iteration_of(line: str) -> float:
    """Return a line's iteration; infinity for one that a crash cut short."""
    try:
        return json.loads(line)["iteration"]
    except (ValueError, KeyError):
        return math.inf
