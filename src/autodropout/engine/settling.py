"""How a trial ended becomes what the ledger says of it, and what is to run next because of it."""

from dataclasses import dataclass, replace

from autodropout.engine.events import Notify, TrialFailed, TrialFinished, TrialPromoted, TrialRetried
from autodropout.engine.executors.base import Outcome, Raised
from autodropout.engine.judging import Again, Finished, GivenUp, judge
from autodropout.engine.ledger import Ledger
from autodropout.engine.ledger_records import Ending, Promotion, Unfinished
from autodropout.engine.places import LOGS
from autodropout.engine.rungs import Onward, Rungs
from autodropout.errors import StudyError
from autodropout.result import Result

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


class Settler:
    """Records endings, one after the other.

    Args:
        ledger: Where they are recorded.
        rules: How trials that go wrong are treated.
        notify: Told what happens.
        rungs: Decides which search trials go on; None gives all of them full trainings.

    Attributes:
        replaced: Search trials given up for the machine's sake.
        best: Best finite reward of a search trial that was trained in full; None before the first.
    """

    def __init__(self, ledger: Ledger, rules: Rules, notify: Notify, rungs: Rungs | None) -> None:
        self._ledger, self._rules, self._notify, self._rungs = ledger, rules, notify, rungs
        self._lost_in_a_row = 0
        self._worst, self.best = ledger.read.extremes()
        self.replaced = 0

    def settle(self, trial: Unfinished, outcome: Outcome, heard: float) -> Unfinished | None:
        """Record how a running attempt ended; return the trial that is to run because of it, if any.

        Args:
            trial: The trial, as it was started.
            outcome: How it ended.
            heard: When that was heard of, in seconds since the epoch: before its slot was given on.

        Raises:
            StudyError: Three trials in a row raised, or lost their worker for good.
        """
        most = self._rules.max_attempts
        verdict = judge(outcome, lost=trial.lost, faults=trial.faults, max_attempts=most)
        match verdict:
            case Finished(result=result, diverged=False):
                return self._returned(trial, result, heard)
            case Again():
                return self._retry(trial, verdict)
            case Finished(result=result):
                self._diverged(trial, result, heard)
            case GivenUp():
                self._give_up(trial, verdict, outcome, heard)
        return None

    def _diverged(self, trial: Unfinished, result: Result, heard: float) -> None:
        ending = Ending(
            trial=trial.id,
            attempt=trial.attempt,
            ended=heard,
            state="done",
            reward=self._floor(),
            floored=True,
            result=result,
            cause="diverged",
            error=f"diverged: its reward is {result.reward}",
        )
        if self._ledger.finish(ending):
            self._lost_in_a_row = 0
            self._notify(_finished(trial, result, ending.reward))

    def _returned(self, trial: Unfinished, result: Result, heard: float) -> Unfinished | None:
        taught, next_trial, promotion = self._fate(trial, result)
        ending = Ending(
            trial=trial.id,
            attempt=trial.attempt,
            ended=heard,
            state="done",
            reward=taught,
            result=result,
            promotion=promotion,
        )
        if not self._ledger.finish(ending):
            return None
        self._lost_in_a_row = 0
        if trial.kind == "search":
            self._remember(result.reward, trial.budget)
        if next_trial is None:
            self._notify(_finished(trial, result, result.reward))
            return None
        event = TrialPromoted(
            trial=trial.id,
            reward=result.reward,
            budget=trial.budget,
            seconds=result.seconds,
            successor=next_trial.id,
        )
        self._notify(event)
        return next_trial

    def _fate(
        self, trial: Unfinished, result: Result
    ) -> tuple[float | None, Unfinished | None, Promotion | None]:
        """Return what is taught, and the trial in which the policy goes on: one of the two."""
        if self._rungs is None or trial.kind != "search":
            return result.reward, None, None
        fate = self._rungs.settle(trial, result.reward)
        if not isinstance(fate, Onward):
            return fate.reward, None, None
        number = self._ledger.read.next_id()
        promotion = Promotion(id=number, budget=fate.budget, carried=fate.carried, weight=fate.weight)
        onward = Unfinished(
            id=number,
            kind=trial.kind,
            tokens=trial.tokens,
            seed=trial.seed,
            log_prob=trial.log_prob,
            source=trial.id,
            budget=fate.budget,
            carried=fate.carried,
            weight=fate.weight,
        )
        return None, onward, promotion

    def _retry(self, trial: Unfinished, verdict: Again) -> Unfinished | None:
        lost = verdict.cause == "lost"
        again = replace(trial, lost=trial.lost + lost, faults=trial.faults + (not lost))
        if not self._ledger.requeue(again, verdict.error):
            return None
        event = TrialRetried(kind=trial.kind, trial=trial.id, attempt=trial.attempt, reason=verdict.error)
        self._notify(event)
        return again

    def _give_up(self, trial: Unfinished, verdict: GivenUp, outcome: Outcome, heard: float) -> None:
        if isinstance(outcome, Raised):
            self._check_raised(trial, outcome)
        lost = verdict.cause == "lost"
        ending = Ending(
            trial=trial.id,
            attempt=trial.attempt,
            ended=heard,
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

    def _remember(self, reward: float, budget: float) -> None:
        self._worst = reward if self._worst is None else min(self._worst, reward)
        if budget == 1.0:
            self.best = reward if self.best is None else max(self.best, reward)


def _finished(trial: Unfinished, result: Result, reward: float | None) -> TrialFinished:
    return TrialFinished(
        kind=trial.kind,
        trial=trial.id,
        reward=reward,
        floored=reward != result.reward,
        seconds=result.seconds,
        budget=trial.budget,
    )
