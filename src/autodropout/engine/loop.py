"""The loop's turns: start what is queued, wait, have recorded how trials ended."""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from autodropout.engine.control import requested
from autodropout.engine.events import Notify, Paused, TrialStarted
from autodropout.engine.executors.base import Executor, Job, Outcome
from autodropout.engine.ledger import Ledger
from autodropout.engine.ledger_records import Unfinished
from autodropout.engine.rungs import Rungs
from autodropout.engine.settling import Rules, Settler
from autodropout.policy import Policy

_POLL_SECONDS = 0.5


class Decoder(Protocol):
    """Knows the policy that tokens stand for; every space does."""

    def decode(self, tokens: Sequence[int]) -> Policy:
        """Return the policy."""
        ...


class Loop:
    """Keeps an executor busy with queued trials and records how each of them ended.

    What happens depends on the order in which trials end, not on when: each ending is recorded and
    followed by ``advance`` before the next is looked at, so a search that was killed proposes and learns
    just what it would have if it had lived. Only starting runs ahead, for it changes nothing but states.

    Args:
        ledger: Where everything is recorded.
        executor: What runs the trials.
        decoder: Turns tokens into policies, such as a space.
        rules: How trials that go wrong are treated.
        notify: Told what happens.
        rungs: Decides which search trials go on; None gives all of them full trainings.
    """

    def __init__(
        self,
        ledger: Ledger,
        executor: Executor,
        decoder: Decoder,
        rules: Rules,
        notify: Notify,
        rungs: Rungs | None = None,
    ) -> None:
        self._ledger, self._executor, self._decoder = ledger, executor, decoder
        self._notify, self._budgeted = notify, rungs is not None
        self._settler = Settler(ledger, rules, notify, rungs)
        self._queue: list[tuple[int, Unfinished]] = []
        self._running: dict[tuple[int, int], tuple[Job, Unfinished]] = {}
        self._unsettled = 0
        self._paused = False

    @property
    def replaced(self) -> int:
        """Search trials given up for the machine's sake since the loop began."""
        return self._settler.replaced

    @property
    def best(self) -> float | None:
        """Best finite reward of a search trial that was trained in full; None before the first."""
        return self._settler.best

    @property
    def unfinished(self) -> int:
        """Number of queued and running trials, those included whose ending is not recorded yet."""
        return len(self._queue) + len(self._running) + self._unsettled

    def add(self, trials: Sequence[Unfinished]) -> None:
        """Queue trials that the ledger knows; lower numbers go first."""
        for trial in trials:
            heapq.heappush(self._queue, (trial.id, trial))

    def run(self, advance: Callable[[], None]) -> bool:
        """Run until nothing is queued or running.

        Args:
            advance: Called at first, after every ending and when slots join; learns and queues more.

        Returns:
            False if a stop was requested before that.

        Raises:
            StudyError: Three trials in a row raised, or lost their worker for good.
        """
        advance()
        slots = self._executor.capacity
        while self.unfinished:
            if not self._obey():
                return False
            if self._executor.capacity > slots:  # new slots do not wait for the next ending
                advance()
            slots = self._executor.capacity
            self._start()
            for trial, outcome, heard in self._ended():
                self._unsettled -= 1
                if (following := self._settler.settle(trial, outcome, heard)) is not None:
                    self.add([following])
                advance()
                self._start()
        return True

    def cancel(self) -> None:
        """End what is running; the ledger keeps it as running, so that a resumed search runs it again."""
        for job, _ in self._running.values():
            self._executor.cancel(job)
        self._running.clear()

    def _obey(self) -> bool:
        verb = requested(self._ledger.out)
        if self._paused != (verb == "pause"):
            self._paused = verb == "pause"
            self._notify(Paused(paused=self._paused))
        return verb != "stop"

    def _start(self) -> None:
        while self._queue and not self._paused and len(self._running) < self._executor.capacity:
            _, queued = heapq.heappop(self._queue)
            trial = replace(queued, attempt=queued.attempt + 1)
            self._ledger.start(trial.id, trial.attempt)
            job = self._job(trial)
            self._running[trial.id, trial.attempt] = job, trial
            self._executor.submit(job)
            self._notify(TrialStarted(kind=trial.kind, trial=trial.id, attempt=trial.attempt))

    def _job(self, trial: Unfinished) -> Job:
        return Job(
            trial=trial.id,
            attempt=trial.attempt,
            policy=self._decoder.decode(trial.tokens),
            seed=trial.seed,
            budget=trial.budget if self._budgeted else None,
        )

    def _ended(self) -> list[tuple[Unfinished, Outcome, float]]:
        """Return the trials that ended, how, and when that was heard of."""
        if not self._running:
            time.sleep(_POLL_SECONDS)
            return []
        outcomes, heard = self._executor.poll(_POLL_SECONDS), time.time()
        ended = [
            (self._running.pop((job.trial, job.attempt))[1], outcome, heard)
            for job, outcome in outcomes
            if (job.trial, job.attempt) in self._running
        ]
        self._unsettled = len(ended)
        # Free slots get their next trial before what ended is recorded and learned from.
        self._start()
        return ended


def nothing_more() -> None:
    """Queue nothing more after an ending: for what knows its trials from the start."""
