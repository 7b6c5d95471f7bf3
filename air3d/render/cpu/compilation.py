"""Say what compiling the kernels takes: once, since Numba's cache keeps them."""

import sys
import time

from numba.core import event


class CompilationReport(event.Listener):
    """Print a line to stderr for each kernel of air3d that is compiled, with its seconds.

    A kernel found in Numba's cache is not compiled, so a second run says nothing. What a kernel
    calls is compiled, and counted, with it. Numba compiles one kernel at a time, whatever the
    number of threads.
    """

    def __init__(self) -> None:
        self._started: list[float] = []

    def on_start(self, event: event.Event) -> None:
        """Note when one of nested compilations starts."""
        self._started.append(time.monotonic())

    def on_end(self, event: event.Event) -> None:
        """Report the outermost when it ends."""
        seconds = time.monotonic() - self._started.pop()
        assert event.data is not None, "Numba says what it compiles"
        kernel = event.data["dispatcher"].py_func
        if not self._started and kernel.__module__.startswith("air3d."):
            name = f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}"
            print(f"air3d: compiled {name} in {seconds:.1f} s", file=sys.stderr, flush=True)
