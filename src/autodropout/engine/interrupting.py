"""SIGTERM and SIGUSR1 as clean stops."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = ("SIGTERM", "SIGUSR1")  # what schedulers send before they take a machine away


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM and SIGUSR1 into KeyboardInterrupt, so that all stop what is running in one clean way.

    Only the main thread may, and a handler that the program has chosen comes first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    there = [getattr(signal, name) for name in _STOPS if hasattr(signal, name)]  # Windows has no SIGUSR1
    ours = [number for number in there if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeyboardInterrupt
