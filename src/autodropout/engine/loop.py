"""The loop's turns: start what is queued, wait, record how trials ended."""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from autodropout.engine.control import requested
from autodropout.engine.events import Notify, Paused, TrialFailed, TrialFinished, TrialRetried, TrialStarted
from autodropout.engine.executors.base import Executor, Job, Outcome, Raised
from autodropout.engine.judging import Again, Finished, GivenUp, judge
from autodropout.engine.ledger import Ledger
from autodropout.engine.ledger_records import Ending, Unfinished
from autodropout.engine.places import LOGS
from autodropout.errors import StudyError
from autodropout.policy import Policy

_POLL_SECONDS = 0.5
_MOST_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How trials that go wrong are treated.

    Attributes:
        max_attempts: Attempts that the machine may lose before a trial is given up.
        floor: Reward of a trial that diverges or fails by its own fault; None stands for the worst
            finite reward so far. Until there is one, such trials wait and are taught nothing.
    """

    max_attempts: int
    floor: float | None


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

    Attributes:
        replaced: Search trials given up for the machine's sake since the loop began.
        best: Best finite reward of a search trial; None before the first.
    """

    def __init__(
        self, ledger: Ledger, executor: Executor, decoder: Decoder, rules: Rules, notify: Notify
    ) -> None:
        self._ledger, self._executor, self._decoder = ledger, executor, decoder
        self._rules, self._notify = rules, notify
        self._queue: list[tuple[int, Unfinished]] = []
        self._running: dict[tuple[int, int], tuple[Job, Unfinished]] = {}
        self._unsettled = 0
        self._lost_in_a_row = 0
        self._paused = False
        self._worst, self.best = ledger.read.extremes()
        self.replaced = 0

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
            advance: Called at first and after every ending; learns and queues more.

        Returns:
            False if a stop was requested before that.

        Raises:
            StudyError: Three trials in a row raised, or lost their worker for good.
        """
        advance()
        while self.unfinished:
            if not self._obey():
                return False
            self._start()
            for trial, outcome in self._ended():
                self._unsettled -= 1
                self._settle(trial, outcome)
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
            policy = self._decoder.decode(trial.tokens)
            job = Job(trial=trial.id, attempt=trial.attempt, policy=policy, seed=trial.seed)
            self._running[trial.id, trial.attempt] = job, trial
            self._executor.submit(job)
            self._notify(TrialStarted(kind=trial.kind, trial=trial.id, attempt=trial.attempt))

    def _ended(self) -> list[tuple[Unfinished, Outcome]]:
        if not self._running:
            time.sleep(_POLL_SECONDS)
            return []
        ended = [
            (self._running.pop((job.trial, job.attempt))[1], outcome)
            for job, outcome in self._executor.poll(_POLL_SECONDS)
            if (job.trial, job.attempt) in self._running
        ]
        self._unsettled = len(ended)
        # Free slots get their next trial before what ended is recorded and learned from.
        self._start()
        return ended

    def _settle(self, trial: Unfinished, outcome: Outcome) -> None:
        rules = self._rules
        verdict = judge(outcome, lost=trial.lost, faults=trial.faults, max_attempts=rules.max_attempts)
        match verdict:
            case Finished():
                self._finish(trial, verdict)
            case Again():
                self._retry(trial, verdict)
            case GivenUp():
                self._give_up(trial, verdict, outcome)

    def _finish(self, trial: Unfinished, verdict: Finished) -> None:
        reward = self._floor() if verdict.diverged else verdict.result.reward
        ending = Ending(
            trial=trial.id,
            attempt=trial.attempt,
            state="done",
            reward=reward,
            floored=verdict.diverged,
            result=verdict.result,
            cause="diverged" if verdict.diverged else None,
            error=f"diverged: its reward is {verdict.result.reward}" if verdict.diverged else None,
        )
        if not self._ledger.finish(ending):
            return
        self._lost_in_a_row = 0
        if trial.kind == "search" and not verdict.diverged:
            self._remember(verdict.result.reward)
        event = TrialFinished(
            kind=trial.kind,
            trial=trial.id,
            reward=reward,
            floored=verdict.diverged,
            seconds=verdict.result.seconds,
        )
        self._notify(event)

    def _retry(self, trial: Unfinished, verdict: Again) -> None:
        lost = verdict.cause == "lost"
        again = replace(trial, lost=trial.lost + lost, faults=trial.faults + (not lost))
        if not self._ledger.requeue(again, verdict.error):
            return
        self.add([again])
        event = TrialRetried(kind=trial.kind, trial=trial.id, attempt=trial.attempt, reason=verdict.error)
        self._notify(event)

    def _give_up(self, trial: Unfinished, verdict: GivenUp, outcome: Outcome) -> None:
        if isinstance(outcome, Raised):
            self._check_raised(trial, outcome)
        lost = verdict.cause == "lost"
        ending = Ending(
            trial=trial.id,
            attempt=trial.attempt,
            state="failed",
            reward=None if lost else self._floor(),
            floored=not lost,
            cause=verdict.cause,
            error=verdict.error,
        )
        if not self._ledger.finish(ending):
            return
        self.replaced += lost and trial.kind == "search"
        self._notify(TrialFailed(kind=trial.kind, trial=trial.id, error=verdict.error, replaced=lost))
        self._lost_in_a_row = self._lost_in_a_row + 1 if lost else 0
        if self._lost_in_a_row == _MOST_IN_A_ROW:
            raise StudyError(
                f"{_MOST_IN_A_ROW} trials in a row lost their worker for good ({verdict.error}); "
                f"{self._where()}, free memory or use fewer workers, and resume"
            )

    def _check_raised(self, trial: Unfinished, outcome: Raised) -> None:
        row = self._ledger.read.raised_in_a_row(trial.kind)
        if len(row) + 1 < _MOST_IN_A_ROW:
            return
        # The cause is most likely a bug that will be mended: these trials are then worth another run.
        self._ledger.forgive([*row, trial.id])
        error = StudyError(
            f"{_MOST_IN_A_ROW} trials in a row raised ({outcome.error}); {self._where()}, "
            "mend evaluate and resume"
        )
        error.add_note(outcome.traceback)
        raise error

    def _where(self) -> str:
        logs = self._ledger.out / LOGS
        return f"see {logs}" if logs.is_dir() else "see its output"

    def _floor(self) -> float | None:
        return self._worst if self._rules.floor is None else self._rules.floor

    def _remember(self, reward: float) -> None:
        self._worst = reward if self._worst is None else min(self._worst, reward)
        self.best = reward if self.best is None else max(self.best, reward)


def nothing_more() -> None:
    """Queue nothing more after an ending: for what knows its trials from the start."""
