"""What runs on the far side of an executor that does not own its processes: a cluster's, or a pool's."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from autodropout.engine.executors import attempt, kept
from autodropout.engine.executors.base import Done, Evaluate, Job, Raised
from autodropout.engine.executors.worker import load, logged_run, own_streams

Here = tuple[str, int]
"""Host and process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A process, and how it is to run trials.

    Attributes:
        driver: Host and process that gives the orders.
        import_path: Where that process finds its modules.
        log_dir: Folder for the attempts' output; used where it is there to be seen.
        results_dir: Folder for the results; used where it is there to be seen.
        threads: Threads of torch per trial.
    """

    driver: Here
    import_path: tuple[str, ...]
    log_dir: Path | None
    results_dir: Path | None
    threads: int


def place(log_dir: Path | None, results_dir: Path | None, threads: int) -> Place:
    """Return what this process tells those that run its trials."""
    return Place(
        driver=here(),
        import_path=tuple(path or os.getcwd() for path in sys.path if isinstance(path, str)),
        log_dir=log_dir,
        results_dir=results_dir,
        threads=threads,
    )


def here() -> Here:
    """Return host and process."""
    return socket.gethostname(), os.getpid()


def sees(place: Place) -> bool:
    """Whether this process sees the driver's folders, as far as there are any."""
    return all(_seen(folder) == folder for folder in (place.log_dir, place.results_dir))


def run(evaluate: bytes, job: Job, place: Place) -> Done | Raised | str:
    """Run an attempt in this process, wherever that is; nothing is raised.

    Where another host does not see the driver's folders, output stays with whoever started the process
    and the result travels back by the executor's own way only.

    Returns:
        What became of it; a text says why its output cannot be kept, which stops a search.
    """
    function = _prepared(evaluate, place)
    if isinstance(function, Raised):
        return function
    outcome = _run(function, job, place)
    if isinstance(outcome, Done) and (folder := _seen(place.results_dir)):
        try:
            kept.keep(folder, job, outcome.result)
        except OSError as error:  # it is the second copy; the first is on its way
            sys.stderr.write(f"the result of trial {job.trial} is not kept: {error}\n")
    return outcome


@lru_cache(maxsize=1)
def _prepared(evaluate: bytes, place: Place) -> Evaluate | Raised:
    """Make this process ready for its first trial, and load what all of them call."""
    sys.path.extend(path for path in place.import_path if path not in sys.path)
    function = load(evaluate)
    if here() != place.driver and (torch := sys.modules.get("torch")):
        torch.set_num_threads(place.threads)
    return function


def _run(function: Evaluate, job: Job, place: Place) -> Done | Raised | str:
    folder = _seen(place.log_dir)
    # The streams belong to the process: not to a thread of the driver's, nor to two trials at a time.
    if folder and here() != place.driver and _streams_in_use.acquire(blocking=False):
        try:
            with _streams():
                return logged_run(function, job, folder)
        finally:
            _streams_in_use.release()
    return _unlogged(function, job, attempt.log_path(folder, job))


_streams_in_use = threading.Lock()


@contextmanager
def _streams() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    own_streams()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _unlogged(function: Evaluate, job: Job, path: Path | None) -> Done | Raised | str:
    """Run an attempt whose output stays where it goes; its traceback goes to the file, if there is one."""
    try:
        outcome = attempt.run(function, job)
        if isinstance(outcome, Raised) and path:
            with open(path, "a", encoding="utf8") as file:
                file.write(outcome.traceback)
        return outcome
    except OSError as error:
        return str(attempt.log_error(path, error))


def _seen(folder: Path | None) -> Path | None:
    return folder if folder is not None and folder.is_dir() else None
