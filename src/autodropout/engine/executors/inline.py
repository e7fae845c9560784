"""Runs trials in the calling process: the twin of the local executor for tests and debugging."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path

from autodropout.engine.executors import attempt
from autodropout.engine.executors.base import Done, Evaluate, Job, Outcome, Raised
from autodropout.errors import UsageError


class InlineExecutor:
    """Runs one trial at a time in the calling process, inside ``poll``.

    Nothing is pickled and no process is started, so breakpoints in ``evaluate`` work. In return a trial
    has no time limit, whatever kills it kills the search, and Ctrl-C goes to the trial and on to the
    caller, the job then being forgotten.

    Args:
        evaluate: evaluate(policy, seed), the reward or a Result; judged as by the local executor.
        timeout: Must be None: a process cannot kill its own trial.
        log_dir: Folder for ``trial-000017-1.log`` (trial, attempt), which holds what Python code printed,
            and the traceback. None leaves both on the streams.
        capture: False leaves what is printed on the streams, as a debugger needs it, and writes a log
            only for a traceback.

    Raises:
        UsageError: ``evaluate`` cannot be called, or a timeout is asked for.
        LedgerError: ``log_dir`` cannot be written to.

    Example:
        >>> from autodropout.policy import Policy
        >>> executor = InlineExecutor(lambda policy, seed: seed / 2)
        >>> executor.submit(Job(trial=1, attempt=1, policy=Policy({}), seed=3))
        >>> [(job, outcome)] = executor.poll(0.0)
        >>> outcome.result.reward
        1.5
    """

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        timeout: float | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        capture: bool = True,
    ) -> None:
        attempt.check_evaluate(evaluate)
        check_unlimited(timeout)
        self._evaluate = evaluate
        self._log_dir = None if log_dir is None else attempt.make_log_dir(log_dir)
        self._capture = capture
        self._job: Job | None = None
        self._closed = False

    @property
    def capacity(self) -> int:
        """Always 1."""
        return 1

    def submit(self, job: Job) -> None:
        """Take a job for the next ``poll``.

        Raises:
            UsageError: Another job waits, or the executor is closed.
        """
        self._check_open()
        if self._job is not None:
            raise UsageError("the only slot is busy; poll until its job has ended")
        self._job = job

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """Run the job to its end, however long that takes; without one, sleep for ``timeout`` seconds.

        Raises:
            LedgerError: The output of the job cannot be kept.
            UsageError: The executor is closed.
        """
        self._check_open()
        if self._job is None:
            time.sleep(max(timeout, 0.0))
            return []
        job, self._job = self._job, None
        return [(job, self._run(job))]

    def cancel(self, job: Job) -> None:
        """Forget the job if it has not begun."""
        if self._job is not None and (self._job.trial, self._job.attempt) == (job.trial, job.attempt):
            self._job = None

    def close(self) -> None:
        """Forget what waits. May be called twice."""
        self._closed, self._job = True, None

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the executor is closed; build a new one")

    def _run(self, job: Job) -> Done | Raised:
        path = attempt.log_path(self._log_dir, job)
        try:
            with _output_to(path) if path and self._capture else nullcontext():
                outcome = attempt.run(self._evaluate, job, passing=(KeyboardInterrupt,))
            if isinstance(outcome, Raised):
                _keep(outcome.traceback, path)
            return outcome
        except OSError as error:
            raise attempt.log_error(path, error) from error


def _keep(text: str, path: Path | None) -> None:
    with _output_to(path) if path else nullcontext():
        sys.stderr.write(text)


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    with (
        open(path, "a", buffering=1, encoding="utf8", errors="backslashreplace") as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        yield


def check_unlimited(timeout: float | None) -> None:
    """Refuse a time limit.

    Raises:
        UsageError: There is one.
    """
    if timeout is not None:
        raise UsageError(f"timeout is {timeout!r}; trials in this process cannot be killed, use workers")
