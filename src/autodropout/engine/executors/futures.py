"""Runs trials on any ``concurrent.futures.Executor``: a process or thread pool, Dask, loky, MPI."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from concurrent.futures import Executor as Pool

from autodropout.engine.executors import attempt, remote
from autodropout.engine.executors.base import Done, Evaluate, Job, Lost, Outcome, Raised
from autodropout.errors import LedgerError, StudyError, UsageError

_Ended = Done | Raised | str
_Key = tuple[int, int]


class FuturesExecutor:
    """Runs trials on an executor of the kind that the standard library defines and others offer.

    ``evaluate`` travels with each trial by cloudpickle, so the pool's own pickling does not limit it.
    The pool stays the caller's, who shuts it down; what runs when this executor is closed runs to its end
    there. Such a pool cannot kill a trial, so there is no time limit; use LocalExecutor or RayExecutor
    for one. Process pools of the standard library and loky break as a whole when one of their workers
    dies: the search then stops with an error and can be resumed on a new pool.

    Args:
        pool: What runs the trials: ``ProcessPoolExecutor(4)``, ``client.get_executor()`` of Dask,
            ``loky.get_reusable_executor()``.
        evaluate: evaluate(policy, seed), the reward or a Result; judged as by the local executor.
        slots: Trials at a time: the pool's workers. A function is asked again whenever trials have ended,
            for pools that grow and shrink.
        timeout: Must be None.
        log_dir: Folder for ``trial-000017-1.log`` (trial, attempt). A process that sees it and runs one
            trial at a time writes there what the attempt printed; threads of one process share their
            streams, so only tracebacks do. None leaves everything on the streams.

    Raises:
        UsageError: An argument is wrong, or ``evaluate`` cannot be pickled.
        LedgerError: ``log_dir`` cannot be written to.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from autodropout.policy import Policy
        >>> with ThreadPoolExecutor(1) as pool:
        ...     executor = FuturesExecutor(pool, lambda policy, seed: seed / 2, slots=1)
        ...     executor.submit(Job(trial=1, attempt=1, policy=Policy({}), seed=3))
        ...     [(job, outcome)] = executor.poll(60.0)
        >>> outcome.result.reward
        1.5
    """

    def __init__(
        self,
        pool: Pool,
        evaluate: Evaluate,
        *,
        slots: int | Callable[[], int],
        timeout: float | None = None,
        log_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if timeout is not None:
            raise UsageError(
                f"timeout is {timeout!r}; a pool's trials cannot be killed, use the local executor or Ray"
            )
        self._pool, self._evaluate = pool, attempt.pickled(evaluate)
        self._slots = slots
        self._capacity = _asked(slots)
        folder = None if log_dir is None else attempt.make_log_dir(log_dir)
        self._place = remote.place(folder, None, threads=1)
        self._jobs: dict[_Key, tuple[Job, Future[_Ended]]] = {}
        self._closed = False

    @property
    def capacity(self) -> int:
        """Trials at a time, as of the last ``poll``."""
        return self._capacity

    def submit(self, job: Job) -> None:
        """Hand a job to the pool.

        Raises:
            StudyError: The pool is broken or was shut down.
            UsageError: No slot is free, the same attempt is running, or the executor is closed.
        """
        self._check_open()
        key = job.trial, job.attempt
        if key in self._jobs:
            raise UsageError(f"trial {job.trial}, attempt {job.attempt} is running already")
        if len(self._jobs) >= self.capacity:
            raise UsageError(f"all {self.capacity} slots are busy; poll until a job has ended")
        try:
            future = self._pool.submit(remote.run, self._evaluate, job, self._place)
        except (BrokenExecutor, RuntimeError) as error:  # a pool that was shut down raises the latter
            raise StudyError(
                f"the pool takes no more trials ({error}); build a new one and resume"
            ) from error
        self._jobs[key] = job, future

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that ended, waiting at most ``timeout`` seconds for the first of them.

        Raises:
            LedgerError: The output of a job cannot be kept. The job is forgotten, others go on.
            UsageError: The executor is closed, or ``slots`` returned something else than a number.
        """
        self._check_open()
        if self._jobs:
            futures = [future for _, future in self._jobs.values()]
            wait(futures, timeout=max(timeout, 0.0), return_when=FIRST_COMPLETED)
        else:
            time.sleep(max(timeout, 0.0))
        self._capacity = _asked(self._slots)
        return list(self._reported())

    def cancel(self, job: Job) -> None:
        """Forget a job and stop it if it has not begun; it never shows up in ``poll``."""
        if found := self._jobs.pop((job.trial, job.attempt), None):
            found[1].cancel()

    def close(self) -> None:
        """Forget all jobs; the pool stays open. May be called twice."""
        self._closed = True
        for job, _ in list(self._jobs.values()):
            self.cancel(job)

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("the executor is closed; build a new one")

    def _reported(self) -> list[tuple[Job, Outcome]]:
        ended: list[tuple[Job, Outcome]] = []
        for key, (job, future) in list(self._jobs.items()):
            if future.done():
                outcome = _outcome(future)
                if not isinstance(outcome, str):
                    ended.append((job, outcome))
                elif ended:
                    break  # its turn comes with the next poll: what has ended must be heard of first
                else:
                    del self._jobs[key]
                    raise LedgerError(outcome)
                del self._jobs[key]
        return ended


def _outcome(future: "Future[_Ended]") -> Outcome | str:
    """Return how an attempt ended: what goes wrong within it is returned, so what is raised is the pool's."""
    if future.cancelled():
        return Lost(reason="the pool cancelled it")
    if error := future.exception():
        return Lost(reason=f"the pool lost it ({type(error).__name__}: {' '.join(str(error).split())})")
    return future.result()


def _asked(slots: int | Callable[[], int]) -> int:
    number = slots() if callable(slots) else slots
    if not isinstance(number, int) or isinstance(number, bool) or number < (0 if callable(slots) else 1):
        raise UsageError(f"slots is {number!r}; expected at least 1, or a function that returns a number")
    return max(number, 1)  # a pool without workers keeps its first trial until one comes
