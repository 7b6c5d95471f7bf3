"""Make what comes next, in a second thread, while the last is used."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from air3d import ranks

Made = TypeVar("Made")


class Prefetch(Generic[Made]):
    """Give what a function makes of an index, and begin on the next one in a second thread.

    The next index is the one after as many as there are ranks, each of which takes one in turn.

    Args:
        make: called with one index at a time, outside the calling thread.
    """

    def __init__(self, make: Callable[[int], Made]):
        self._make = make
        self._maker = ThreadPoolExecutor(max_workers=1)
        self._begun: tuple[int, Future[Made]] | None = None

    def __call__(self, index: int) -> Made:
        """Return ``make(index)``; it is there already if it is the next after the last call's.

        Raises whatever ``make`` raises.
        """
        begun = self._begun
        made = begun[1] if begun and begun[0] == index else self._maker.submit(self._make, index)
        following = index + ranks.size()
        self._begun = (following, self._maker.submit(self._make, following))
        return made.result()


def one_ahead(items: Iterable[Made]) -> Iterator[Made]:
    """Yield what an iterable yields, and let it make the next one in a second thread meanwhile.

    Raises whatever it raises, in its turn.
    """
    source = iter(items)

    def take() -> list[Made]:
        return list(itertools.islice(source, 1))

    with ThreadPoolExecutor(max_workers=1) as maker:
        following = maker.submit(take)
        while made := following.result():
            following = maker.submit(take)
            yield made[0]
