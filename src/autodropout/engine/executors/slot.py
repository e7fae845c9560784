"""A slot of the local executor: the place for one worker and its job."""

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from autodropout.engine.executors.base import Job
from autodropout.engine.executors.forkserver import ForkServer
from autodropout.engine.executors.worker import Ended, Ready, Setup

_START_SECONDS = 120.0  # what a worker that is still starting gets on top of its job's time limit


@dataclass(slots=True, kw_only=True)
class Slot:
    """A place for one worker at a time.

    Attributes:
        setup: What each worker here is told first.
        number: The fork server's number for the latest worker.
        connection: Our end of the pipe to it; None once it is given up or has hung up.
        ready: Whether it has started.
        deaths: Workers that died while starting, in a row.
        job: What it runs, or will once it is ready.
        since: When the job began, on the monotonic clock.
    """

    setup: Setup
    number: int = -1
    connection: "Connection[Setup | Job, Ready | Ended] | None" = None
    ready: bool = False
    deaths: int = 0
    job: Job | None = None
    since: float = 0.0

    def start(self, server: ForkServer, number: int) -> None:
        """Start a worker, and with it the job that waits here, if any."""
        self.connection, theirs = Pipe()
        self.number, self.ready = number, False
        with theirs:
            server.start(number, theirs)
        self._send(self.setup)
        if self.job is not None:
            self._send(self.job)

    def submit(self, job: Job, server: ForkServer, number: int) -> None:
        """Give the free slot a job, and a worker with this number if it has none."""
        self.job, self.since = job, time.monotonic()
        if self.connection is None:
            self.start(server, number)
        else:
            self._send(job)

    def messages(self) -> Iterator[Ready | Ended]:
        """Return what the worker has said, without waiting.

        Raises:
            EOFError: It has hung up, usually because it has died.
        """
        try:
            while self.connection is not None and self.connection.poll():
                yield self.connection.recv()
        except OSError as error:  # one that dies in the middle of a message leaves half of it
            raise EOFError from error

    def hang_up(self) -> None:
        """Close the pipe; the next job needs another worker."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def runs(self, trial: int, attempt: int) -> bool:
        """Whether this is the attempt that runs here."""
        return self.job is not None and (self.job.trial, self.job.attempt) == (trial, attempt)

    def deadline(self, timeout: float | None) -> float:
        """Return when the job is to be killed, on the monotonic clock."""
        if timeout is None or self.job is None:
            return math.inf
        return self.since + timeout + (0.0 if self.ready else _START_SECONDS)

    def _send(self, message: Setup | Job) -> None:
        assert self.connection is not None
        with suppress(OSError):  # it has just died, which the server will report
            self.connection.send(message)
