"""Runs trials on this machine, one process per slot."""

import itertools
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from typing import Literal

from autodropout.engine.executors import attempt
from autodropout.engine.executors.base import Evaluate, Job, Lost, Outcome, Raised, TimedOut
from autodropout.engine.executors.devices import visible_devices
from autodropout.engine.executors.forkserver import ForkServer, checked_preload, ending
from autodropout.engine.executors.slot import Slot
from autodropout.engine.executors.worker import Ended, Ready, Setup
from autodropout.errors import LedgerError, StudyError, UsageError

_STARTS = 3  # tries to start a worker, or the server, before giving up
_MACHINE_CODES = {-signal.SIGKILL, os.EX_OSERR}  # out of memory, no more processes


class LocalExecutor:
    """Runs trials in worker processes on this machine.

    A worker runs one trial at a time, with one thread: as many workers as cores is the right number.
    Workers are forked from a server process that has torch loaded already. They stay from trial to
    trial; one that dies, or is killed at a trial's time limit, is replaced. They lead process groups of
    their own: Ctrl-C does not reach them, they may start processes (a DataLoader's), and everything ends
    at once when the driver does, however it ends. Only a process that leaves the worker's group, as a
    daemon does, escapes. At the end workers are killed, not asked.

    ``evaluate`` travels by cloudpickle over a pipe, once per worker, as it is now: it may be a lambda, a
    closure, or come from a notebook or a script without a main guard. Its module must be importable.

    Args:
        evaluate: evaluate(policy, seed), the reward or a Result. An exception, sys.exit included, and a
            return value of another type are ``Raised``; a full disk stops the search instead.
        workers: Number of slots, at least 1.
        devices: CUDA devices dealt out to the slots in turn: indices among those visible now, or strings
            for CUDA_VISIBLE_DEVICES (UUIDs, ``"0,1"``). None lets every worker see all.
        timeout: Seconds after which a trial and everything it started is killed; None for no limit.
        log_dir: Folder for ``trial-000017-1.log`` (trial, attempt), which holds what the attempt printed,
            C code and child processes included, and its traceback, and for ``workers.log``, which holds
            what is printed between trials. None leaves both on the driver's streams.
        preload: Modules that the server imports before it forks; those that ``evaluate`` imports first.
        start: ``"forkserver"``, or ``"spawn"`` for a fresh interpreter per worker, which takes seconds
            but shares nothing. None: forkserver on Linux, spawn elsewhere (macOS libraries do not
            survive a fork).

    Raises:
        UsageError: An argument is wrong, or ``evaluate`` cannot be pickled.
        LedgerError: ``log_dir`` cannot be written to.
        StudyError: No process can be started.

    Example:
        >>> from autodropout.policy import Policy
        >>> executor = LocalExecutor(lambda policy, seed: seed / 2, workers=1, preload=())
        >>> executor.submit(Job(trial=1, attempt=1, policy=Policy({}), seed=3))
        >>> [(job, outcome)] = executor.poll(60.0)
        >>> outcome.result.reward
        1.5
        >>> executor.close()
    """

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        workers: int = 2,
        devices: Sequence[int | str] | None = None,
        timeout: float | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        preload: Sequence[str] = ("torch",),
        start: Literal["forkserver", "spawn"] | None = None,
    ) -> None:
        self._timeout = attempt.checked_timeout(timeout)
        self._spawn = _checked_start(start) == "spawn"
        self._preload = () if self._spawn else checked_preload(preload)
        visible = visible_devices(devices)
        slots = range(_checked_workers(workers))
        data = attempt.pickled(evaluate)
        folder = None if log_dir is None else attempt.make_log_dir(log_dir)
        self._log = folder and folder / "workers.log"
        self._slots = [
            Slot(setup=Setup(evaluate=data, log_dir=folder, device=visible[i % len(visible)])) for i in slots
        ]
        self._numbers = itertools.count()
        self._ended: list[tuple[Job, Outcome]] = []
        self._fault: LedgerError | None = None
        self._server_deaths = 0
        self._closed = False
        self._start_all()

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return len(self._slots)

    def submit(self, job: Job) -> None:
        """Start a job at once.

        Raises:
            StudyError: No worker can be started on this machine.
            UsageError: No slot is free, the same attempt is running, or the executor is closed.
        """
        self._check_open()
        self._step(0.0)  # a worker that died while idle is no slot to use
        if any(slot.runs(job.trial, job.attempt) for slot in self._slots):
            raise UsageError(f"trial {job.trial}, attempt {job.attempt} is running already")
        free = [slot for slot in self._slots if slot.job is None]
        if not free:
            raise UsageError(f"all {self.capacity} workers are busy; poll until a job has ended")
        slot = max(free, key=lambda slot: slot.ready)
        slot.submit(job, self._server, next(self._numbers))

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that ended, waiting at most ``timeout`` seconds for the first of them.

        Raises:
            LedgerError: The output of a job cannot be kept. The job is forgotten, others go on.
            StudyError: No worker can be started on this machine.
            UsageError: The executor is closed.
        """
        self._check_open()
        until = time.monotonic() + max(timeout, 0.0)
        while True:
            nearest = min([until, *(slot.deadline(self._timeout) for slot in self._slots)])
            self._step(0.0 if self._ended else max(nearest - time.monotonic(), 0.0))
            self._expire()
            if self._ended or self._fault or time.monotonic() >= until:
                return self._reported()

    def cancel(self, job: Job) -> None:
        """Kill the job's worker; the job never shows up in ``poll``. Unknown jobs are ignored."""
        attempt = (job.trial, job.attempt)
        self._ended = [(old, end) for old, end in self._ended if (old.trial, old.attempt) != attempt]
        for slot in self._slots:
            if slot.runs(*attempt):
                slot.job = None
                self._drop(slot)

    def close(self) -> None:
        """Kill the workers and what they started. May be called twice."""
        if not self._closed:
            self._closed = True
            self._server.close()
            for slot in self._slots:
                slot.hang_up()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the executor is closed; build a new one")

    def _start_all(self) -> None:
        try:
            self._server = ForkServer(
                workers=len(self._slots), preload=self._preload, spawn=self._spawn, log=self._log
            )
        except OSError as error:
            raise StudyError(f"the server of the workers cannot be started: {error}") from error
        for slot in self._slots:
            self._start(slot)

    def _start(self, slot: Slot) -> None:
        slot.start(self._server, next(self._numbers))

    def _drop(self, slot: Slot) -> None:
        self._server.kill(slot.number)
        slot.hang_up()

    def _step(self, timeout: float) -> None:
        """Wait for news and take in all there are."""
        connections = [slot.connection for slot in self._slots if slot.connection is not None]
        news = wait([self._server.exits, *connections], timeout)
        for slot in self._slots:
            if slot.connection in news:
                self._receive(slot)
        if self._server.exits in news:
            self._bury()

    def _receive(self, slot: Slot) -> None:
        try:
            for message in slot.messages():
                self._note(slot, message)
        except EOFError:
            self._drop(slot)  # killed, too: a trial may have closed our pipe and live on

    def _note(self, slot: Slot, message: Ready | Ended) -> None:
        if isinstance(message, Ready):
            slot.ready, slot.deaths, slot.since = True, 0, time.monotonic()
            self._server_deaths = 0
        elif slot.runs(message.trial, message.attempt):
            if isinstance(message.outcome, str):
                slot.job, self._fault = None, LedgerError(message.outcome)
            else:
                self._end(slot, message.outcome)

    def _bury(self) -> None:
        try:
            while wait([self._server.exits], 0.0):
                number, code = self._server.next_exit()
                for slot in [slot for slot in self._slots if slot.number == number]:
                    self._receive(slot)  # what it said before it died
                    slot.hang_up()
                    self._replace(slot, code)
        except EOFError:
            self._replace_server()

    def _replace(self, slot: Slot, code: int) -> None:
        """Say what became of a dead worker's job, if it had one, and start another worker for the next."""
        if slot.job is None:
            return
        if slot.ready:
            self._end(slot, Lost(reason=f"the worker {ending(code)}"))
        else:
            slot.deaths += 1
        if slot.deaths == _STARTS:
            slot.deaths = 0
            self._end(slot, self._no_start(code))
        else:
            self._start(slot)

    def _no_start(self, code: int) -> Lost | Raised:
        text = f"the worker {ending(code)} while it was starting, {_STARTS} times in a row"
        if code in _MACHINE_CODES:
            return Lost(reason=text)
        return Raised(error=f"{text}; what it printed is {self._printed()}", traceback="")

    def _replace_server(self) -> None:
        code = self._server.close()
        self._server_deaths += 1
        for slot in self._slots:
            self._receive(slot)
            slot.hang_up()
            if slot.job is not None and slot.ready:
                self._end(slot, Lost(reason=f"the server of the workers {ending(code)}"))
        if self._server_deaths == _STARTS:
            self.close()
            raise StudyError(
                f"no worker can be started: their server {ending(code)}, {_STARTS} times in a row; "
                f"what it printed is {self._printed()}"
            )
        self._start_all()

    def _printed(self) -> str:
        return f"in {self._log}" if self._log else "above"

    def _expire(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.deadline(self._timeout) <= now:
                self._end(slot, TimedOut(seconds=now - slot.since))
                self._drop(slot)
                self._start(slot)

    def _end(self, slot: Slot, outcome: Outcome) -> None:
        assert slot.job is not None
        self._ended.append((slot.job, outcome))
        slot.job = None

    def _reported(self) -> Sequence[tuple[Job, Outcome]]:
        if self._fault is not None and not self._ended:
            fault, self._fault = self._fault, None
            raise fault
        ended, self._ended = self._ended, []
        return ended


def _checked_workers(workers: int) -> int:
    if not isinstance(workers, int) or workers < 1:
        raise UsageError(f"workers is {workers!r}; expected at least 1")
    return workers


def _checked_start(start: str | None) -> str:
    if sys.platform == "win32":
        raise UsageError("local workers need Linux or macOS; use InlineExecutor or another executor here")
    if start not in (None, "forkserver", "spawn"):
        raise UsageError(f"start is {start!r}; expected 'forkserver', 'spawn' or None")
    return start or ("forkserver" if sys.platform == "linux" else "spawn")
