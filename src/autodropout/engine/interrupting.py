"""Clean stops: SIGTERM and SIGUSR1 as interrupts, and interrupts that Python has wrapped."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = ("SIGTERM", "SIGUSR1")  # what schedulers send before they take a machine away


@contextmanager
def unwrapped() -> Iterator[None]:
    """Let an interrupt come out as itself.

    Python before 3.12 makes it the cause of a RuntimeError where a class is being made, as happens all the
    time while a library is imported.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


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
        with unwrapped():
            yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    raise KeyboardInterrupt
