"""What a worker process does: load the evaluation once, then run one job after another."""

import faulthandler
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from autodropout.engine.executors import attempt
from autodropout.engine.executors.base import Done, Evaluate, Job, Raised


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a worker is told first.

    Attributes:
        evaluate: The evaluation, as cloudpickle's bytes.
        log_dir: Folder for the attempts' output; None leaves it where the driver's goes.
        device: Value of CUDA_VISIBLE_DEVICES; None leaves it as it is.
    """

    evaluate: bytes
    log_dir: Path | None
    device: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker has started and takes jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job has ended. ``outcome`` is the text of an error if its output could not be kept."""

    trial: int
    attempt: int
    outcome: Done | Raised | str


def main(connection_fd: int, server_fd: int) -> None:
    """Serve the driver until it hangs up.

    Args:
        connection_fd: Our end of the pipe to the driver.
        server_fd: Reading end of a pipe that nobody writes to: at its end the fork server is gone.
    """
    for fd in (connection_fd, server_fd):
        os.set_inheritable(fd, False)
    threading.Thread(target=_end_with_server, args=(server_fd,), daemon=True).start()
    own_streams()
    connection = Connection(connection_fd)
    try:
        _serve(connection)
    except (EOFError, ConnectionError):
        return


def _serve(connection: "Connection[Ready | Ended, Setup | Job]") -> None:
    setup = connection.recv()
    assert isinstance(setup, Setup)
    if setup.device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = setup.device
    evaluate = load(setup.evaluate)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    connection.send(Ready())
    while True:
        job = connection.recv()
        assert isinstance(job, Job)
        outcome = evaluate if isinstance(evaluate, Raised) else logged_run(evaluate, job, setup.log_dir)
        connection.send(Ended(trial=job.trial, attempt=job.attempt, outcome=outcome))


def load(data: bytes) -> Evaluate | Raised:
    """Return the evaluation that cloudpickle wrote, or what went wrong with it in this process."""
    try:
        evaluate: Evaluate = pickle.loads(data)
        return evaluate
    except BaseException as error:  # an imported script may well call sys.exit
        return attempt.raised(error, "evaluate cannot be loaded in a worker")


def logged_run(evaluate: Evaluate, job: Job, log_dir: Path | None) -> Done | Raised | str:
    """Run an attempt with its output in a file of its own; a text says why that cannot be kept."""
    path = attempt.log_path(log_dir, job)
    try:
        with _output_to(path) if path else nullcontext():
            outcome = attempt.run(evaluate, job)
            if isinstance(outcome, Raised):
                sys.stderr.write(outcome.traceback)
            return outcome
    except OSError as error:
        return str(attempt.log_error(path, error))


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Send both streams to a file, at the level of file descriptors: C code and child processes, too."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    before = os.dup(1), os.dup(2)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os.dup2(before[0], 1)
            os.dup2(before[1], 2)
            for fd in (log, *before):
                os.close(fd)


def own_streams() -> None:
    """Have streams that write each line at once, whatever the server inherited."""
    sys.stdout, sys.stderr = _stream(1), _stream(2)
    faulthandler.enable(2)


def _stream(fd: int) -> TextIO:
    return os.fdopen(fd, "w", buffering=1, encoding="utf8", errors="backslashreplace", closefd=False)


def _end_with_server(server_fd: int) -> None:
    """End when the server does; where the driver alone is gone, the server kills without our help."""
    os.read(server_fd, 1)
    os.killpg(0, signal.SIGKILL)
