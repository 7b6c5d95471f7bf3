"""Signals that ask a training to stop: it ends its step and saves before it goes."""

import contextlib
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class StopRequest:
    """Whether a signal has asked to stop.

    A second Ctrl-C does not wait. Further SIGTERMs do: torchrun passes on what batch systems have
    already sent to all processes.
    """

    def __init__(self) -> None:
        self._number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether it has."""
        return self._number is not None

    def leave(self, message: str) -> NoReturn:
        """Warn, and go as the signal wants it.

        Raises:
            KeyboardInterrupt: it was SIGINT.
            SystemExit: it was another one; the status is 128 + its number, as of shells.
        """
        warnings.warn(message, stacklevel=2)
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + (self._number or signal.SIGTERM))

    def take(self, number: int, _frame: FrameType | None) -> None:
        """Take note of a signal."""
        if self._number == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._number = number


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Take note of SIGTERM (as batch systems send it) and SIGINT (Ctrl-C) instead of going at once.

    Signals reach the main thread alone: in others nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {
        number: signal.signal(number, request.take) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
