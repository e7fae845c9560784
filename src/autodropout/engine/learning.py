"""The paper's two queues: what is unfinished is refilled, what is finished becomes updates."""

import time
from dataclasses import dataclass

from autodropout.engine.base import Searcher
from autodropout.engine.dealing import Dealer
from autodropout.engine.events import Learned, Notify
from autodropout.engine.executors.base import Executor
from autodropout.engine.ledger import Ledger, Lesson
from autodropout.engine.ledger_records import NewTrial, Unfinished
from autodropout.engine.loop import Loop
from autodropout.engine.trial_seeds import trial_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """How much is asked for.

    Attributes:
        trials: Search trials of the whole study. Those given up for the machine's sake are replaced and
            do not count.
        capacity: C, most trials queued or running at a time; None stands for the executor's slots and
            a few more, so that no slot waits while the searcher learns and proposes.
        budget: Fraction of a full training that every policy begins with.
    """

    trials: int
    capacity: int | None
    budget: float = 1.0


class Learning:
    """Teaches the searcher every M finished trials and keeps C trials unfinished.

    Args:
        ledger: Where both queues stand.
        searcher: Who proposes and learns; its state is that of the ledger's last update.
        loop: Runs what is queued.
        executor: Whose slots are to be kept busy.
        goal: How much is asked for.
        notify: Told of every update.
    """

    def __init__(
        self,
        ledger: Ledger,
        searcher: Searcher,
        loop: Loop,
        executor: Executor,
        goal: Goal,
        notify: Notify,
    ) -> None:
        self._ledger, self._searcher, self._loop, self._executor = ledger, searcher, loop, executor
        self._goal, self._notify = goal, notify
        self._updates = ledger.read.last_update()
        draw, place = ledger.read.dealt(self._updates)
        self._dealer = Dealer(searcher, update=self._updates, draw=draw, place=place)
        self._proposed = ledger.read.tally("search").proposed

    @property
    def complete(self) -> bool:
        """Whether all that is asked for has been proposed and has ended."""
        return not self._loop.unfinished and self._wanted() <= 0

    def advance(self) -> None:
        """Make the updates that are due, then fill up the queue of unfinished trials."""
        while len(batch := self._ledger.read.untaught(self._searcher.batch)) == self._searcher.batch:
            began = time.perf_counter()
            figures = self._searcher.learn(batch)
            self._updates += 1
            lesson = Lesson(
                number=self._updates,
                trials=[scored.trial for scored in batch],
                figures=figures,
                snapshot=self._searcher.snapshot(),
                seconds=time.perf_counter() - began,
            )
            self._ledger.teach(lesson)
            self._dealer.learned()
            self._notify(Learned(update=self._updates, figures=figures))
        self._refill()

    def _refill(self) -> None:
        room = self._capacity() - self._loop.unfinished
        first = self._ledger.read.next_id()
        if new := [self._next(first + place) for place in range(min(room, self._wanted()))]:
            self._ledger.enqueue(new)
            self._proposed += len(new)
            self._loop.add([_unfinished(trial) for trial in new])

    def _wanted(self) -> int:
        return self._goal.trials - (self._proposed - self._loop.replaced)

    def _next(self, number: int) -> NewTrial:
        dealt, study = self._dealer.deal(), self._ledger.study
        return NewTrial(
            id=number,
            kind="search",
            tokens=dealt.proposal.tokens,
            log_prob=dealt.proposal.log_prob,
            seed=trial_seed(study.seed, "search", 0 if study.common_seed else number),
            updates_made=dealt.update,
            draw=dealt.draw,
            place=dealt.place,
            budget=self._goal.budget,
        )

    def _capacity(self) -> int:
        return self._goal.capacity or self._executor.capacity + spare(self._executor.capacity)


def _unfinished(trial: NewTrial) -> Unfinished:
    return Unfinished(
        id=trial.id,
        kind=trial.kind,
        tokens=trial.tokens,
        seed=trial.seed,
        log_prob=trial.log_prob,
        budget=trial.budget,
    )


def spare(slots: int) -> int:
    """Return how many trials wait beside the running ones when nobody set a capacity.

    One per four slots, at least one: with fewer, slots stood idle during updates (benchmarks/search.py);
    with more, trials grow stale, which importance weights do not make good.
    """
    return max(1, slots // 4)
