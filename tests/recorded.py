"""Ledgers of studies that never ran, written as a search would have, at times of our choosing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from unittest import mock

from autodropout.conv_space import ConvSpace
from autodropout.engine import ledger as ledger_module
from autodropout.engine.ledger import Ledger, Lesson
from autodropout.engine.ledger_records import Ending, NewTrial, StudyRecord
from autodropout.result import Result
from autodropout.space import Space

SPACE = ConvSpace(sites={"stem.bn": (8, 8), "block.bn": (4, 4)})
STUDY = StudyRecord(
    space=SPACE.to_json(),
    task="toy",
    searcher="reinforce",
    settings={"batch": 4},
    seed=7,
    batch=4,
    planned=24,
    trials=24,
    options={"workers": 2, "executor": "local"},
    phase="search",
    versions={"python": "3.11", "torch": "2.11"},
    machine={"processors": 2},
    command="autodropout search toy",
    created=1_000_000.0,
)
FAILED = "ValueError: boom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A search trial and what became of it.

    Attributes:
        reward: What it returned; None if it failed, NaN if it diverged.
        seconds: How long it took.
        tokens: Its proposal; None draws one.
        wait: Seconds between the last ending and its start.
    """

    reward: float | None
    seconds: float = 2.0
    tokens: tuple[int, ...] | None = None
    wait: float = 0.0


class Writer:
    """Writes trials one after the other; after every ``batch`` of them the searcher learns."""

    def __init__(self, out: Path, study: StudyRecord = STUDY, space: Space = SPACE) -> None:
        self.now = study.created
        self._space, self._rng, self._next, self._untaught, self._updates = space, Random(1), 1, [], 0
        with self._clock():
            self._ledger = Ledger.create(out, replace(study, space=space.to_json()), b"")
        self._ledger._connection.execute("PRAGMA synchronous = OFF")  # hundreds of transactions, no crash

    def run(self, runs: Sequence[Run], figures: dict[str, float] | None = None) -> None:
        """Record search trials in this order, with these figures at each update."""
        for run in runs:
            self.queue(run.tokens)
            self.end(self._next - 1, run)
            self._untaught.append(self._next - 1)
            self._learn(figures or {"mean_reward": 0.5, "ess": 3.5, "entropy": 1.0, "updates": 1.0})

    def queue(self, tokens: tuple[int, ...] | None = None) -> None:
        """Record a search trial that waits."""
        self._enqueue("search", tokens or self._space.sample(self._rng, biased=True), place=self._next)

    def start(self, trial: int) -> None:
        with self._clock():
            self._ledger.start(trial, 1)

    def confirm(self, source: int, tokens: tuple[int, ...], rewards: Sequence[float]) -> None:
        """Record the confirmation of a policy."""
        for place, reward in enumerate(rewards):
            self._enqueue("confirm", tokens, place=place, source=source)
            self.end(self._next - 1, Run(reward=reward))

    def end(self, trial: int, run: Run, *, started: bool = False) -> None:
        """Record the only attempt at a trial, or how it ended if it was started before."""
        self.now += run.wait
        if not started:
            self.start(trial)
        self.now += run.seconds
        with self._clock():
            assert self._ledger.finish(_ending(trial, run))

    def enter(self, phase: str) -> None:
        self._ledger.enter(phase)

    def close(self) -> None:
        self._ledger.close()

    def _enqueue(self, kind: str, tokens: tuple[int, ...], place: int, source: int | None = None) -> None:
        trial = NewTrial(
            id=self._next,
            kind=kind,
            tokens=tokens,
            log_prob=-1.0 if kind == "search" else None,
            seed=100 + self._next if kind == "search" else 10_000 + place,
            updates_made=self._updates,
            draw=0 if kind == "search" else None,
            place=place,
            source=source,
        )
        with self._clock():
            self._ledger.enqueue([trial])
        self._next += 1

    def _learn(self, figures: dict[str, float]) -> None:
        if len(self._untaught) < self._ledger.study.batch:
            return
        self._updates += 1
        lesson = Lesson(
            number=self._updates, trials=self._untaught, figures=figures, snapshot=b"", seconds=0.25
        )
        with self._clock():
            self._ledger.teach(lesson)
        self._untaught = []

    def _clock(self):
        return mock.patch.object(ledger_module, "time", SimpleNamespace(time=lambda: self.now))


def record_study(out: Path, runs: Sequence[Run], **changes: object) -> None:
    """Write a study whose search has these trials and nothing more."""
    writer = Writer(out, replace(STUDY, **changes))
    writer.run(runs)
    writer.close()


def record_whole_study(out: Path, trials: int = 24, **changes: object) -> None:
    """Write a finished study: some trials diverged or failed, with logs, the best two confirmed."""
    writer, rng = Writer(out, replace(STUDY, **changes)), Random(3)
    runs = [Run(reward=0.9 + 0.02 * rng.random(), seconds=1.0 + rng.random()) for _ in range(trials)]
    runs[2], runs[5] = replace(runs[2], reward=math.nan), replace(runs[5], reward=None)
    writer.run(runs)
    writer.enter("confirm")
    for source in (10, 11):
        tokens = (source % 3 + 1, *([0] * 7), 0, *([0] * 7))
        writer.confirm(source, tokens, [0.91 + 0.001 * source, 0.92, 0.915])
    writer.enter("done")
    writer.close()
    logs = out / "logs"
    logs.mkdir()
    (logs / "trial-000006-1.log").write_text("epoch 1\nTraceback\nValueError: boom\n", encoding="utf8")


def _ending(trial: int, run: Run) -> Ending:
    if run.reward is None:
        return Ending(
            trial=trial, attempt=1, state="failed", reward=0.1, floored=True, cause="raised", error=FAILED
        )
    diverged = not math.isfinite(run.reward)
    return Ending(
        trial=trial,
        attempt=1,
        state="done",
        reward=0.1 if diverged else run.reward,
        floored=diverged,
        result=Result(
            reward=run.reward,
            seconds=run.seconds,
            test={} if diverged else {"accuracy": run.reward - 0.01},
            metrics={"loss": 0.5},
            curve=(0.5, run.reward),
        ),
        cause="diverged" if diverged else None,
        error=f"diverged: its reward is {run.reward}" if diverged else None,
    )
