"""Make the next batch while the last one is learned from."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Prefetch(Generic[Made]):
    """Give what a function makes of an index, and begin on the next index in a second thread.

    Args:
        make: called with one index at a time, outside the calling thread.
    """

    def __init__(self, make: Callable[[int], Made]):
        self._make = make
        self._maker = ThreadPoolExecutor(max_workers=1)
        self._begun: tuple[int, Future[Made]] | None = None

    def __call__(self, index: int) -> Made:
        """Return ``make(index)``; it is there already if the last call was for ``index - 1``.

        Raises whatever ``make`` raises.
        """
        begun = self._begun
        made = begun[1] if begun and begun[0] == index else self._maker.submit(self._make, index)
        self._begun = (index + 1, self._maker.submit(self._make, index + 1))
        return made.result()
