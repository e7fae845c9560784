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

    Only the main thread may, and a handler that the program has chosen comes first. An interrupt that Python
    before 3.12 has made the cause of a RuntimeError, as it does where a class is made, comes out as itself.
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
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # a library was being imported
            raise KeyboardInterrupt from error
        raise
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeyboardInterrupt
