"""What stands in a ledger, as plain records, and the JSON that some columns hold."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autodropout.engine.events import PhaseName
from autodropout.result import Result, TrialKind, TrialState

Cause = Literal["diverged", "raised", "timeout", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """What a study is.

    Attributes:
        space: JSON of the space.
        task: Label of what ``evaluate`` trains; None if nobody gave one.
        searcher: Name of the searcher.
        settings: Its settings.
        seed: Seed of the study.
        batch: M, finished trials per update.
        planned: Search trials asked for when the study was created; searchers plan with it.
        trials: Search trials asked for now.
        options: How the search is run (workers, timeout, ...); they may differ after a resume.
        phase: ``"search"``, ``"confirm"`` or ``"done"``.
        versions: Versions of Python and packages that created it.
        machine: Where.
        command: With which command line.
        created: When, in seconds since the epoch.
        halving: The settings of successive halving; None without it.
        warm: Which study the searcher learned from before it began; None if from none.
        common_seed: Whether all search trials have the same seed.
    """

    space: str
    task: str | None
    searcher: str
    settings: Mapping[str, Any]
    seed: int
    batch: int
    planned: int
    trials: int
    options: Mapping[str, Any]
    phase: PhaseName
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    command: str
    created: float
    halving: Mapping[str, Any] | None = None
    warm: Mapping[str, Any] | None = None
    common_seed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTrial:
    """A trial to be queued.

    Attributes:
        id: Its number.
        kind: Its kind.
        tokens: What to try.
        log_prob: Log-probability of the tokens; None if it has none.
        seed: Seed for the evaluation.
        updates_made: Updates made when it was proposed.
        draw: Draw since that update from which it was dealt; None unless it is a search trial.
        place: Position in that draw; of a confirmation, which of its seeds.
        source: Number of the search trial that a confirmation repeats.
        budget: Fraction of a full training that it gets.
    """

    id: int
    kind: TrialKind
    tokens: tuple[int, ...]
    log_prob: float | None
    seed: int
    updates_made: int
    draw: int | None
    place: int
    source: int | None = None
    budget: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A queued or running trial, as far as running it needs.

    Attributes:
        id: Its number.
        kind: Its kind.
        tokens: What to try.
        seed: Seed for the evaluation.
        attempt: Attempts started so far.
        lost: How many of them the machine lost.
        faults: How many raised or ran out of time.
        log_prob: Log-probability of the tokens; None if it has none.
        source: Number of the trial that it repeats; None if it is the first of its policy.
        budget: Fraction of a full training that it gets.
        carried: What is taught, in the end, is ``carried + weight * value``, where the value is what is
            known of a full training by then; 0 and 1 without successive halving.
        weight: See ``carried``.
    """

    id: int
    kind: TrialKind
    tokens: tuple[int, ...]
    seed: int
    attempt: int = 0
    lost: int = 0
    faults: int = 0
    log_prob: float | None = None
    source: int | None = None
    budget: float = 1.0
    carried: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A trial goes on with a larger budget, as a trial of its own: same policy, same seed.

    Attributes:
        id: Number of the new trial.
        budget: Its budget.
        carried: See ``Unfinished``.
        weight: See ``Unfinished``.
    """

    id: int
    budget: float
    carried: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a trial ended for good.

    Attributes:
        trial: Its number.
        attempt: The attempt that ended it.
        state: ``"done"`` or ``"failed"``.
        reward: What is taught; None if nothing is, or while no floor is known.
        floored: Whether the reward is, or will be, the floor.
        result: What it returned.
        cause: Why it did not return a finite reward.
        error: What went wrong, in one line.
        promotion: How it goes on, if it does; then its reward is None.
        ended: When it was heard of, in seconds since the epoch; None for when it is recorded.
    """

    trial: int
    attempt: int
    state: TrialState
    reward: float | None = None
    floored: bool = False
    result: Result | None = None
    cause: Cause | None = None
    error: str | None = None
    promotion: Promotion | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One update of the searcher.

    Attributes:
        number: Its number, from 1.
        trials: Numbers of the trials it was taught, in order.
        figures: What the searcher says about it.
        seconds: How long it took.
        made: When, in seconds since the epoch.
    """

    number: int
    trials: tuple[int, ...]
    figures: Mapping[str, float]
    seconds: float
    made: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When things happened to a trial, in seconds since the epoch; None if they have not yet.

    Attributes:
        trial: Its number.
        queued: It was proposed.
        started: Its last attempt was started.
        ended: The search heard that it had ended for good; its slot may have been given on by when that
            was recorded.
        finish: Its position in the order in which trials ended, from 1.
        taught: Number of the update that was taught it.
    """

    trial: int
    queued: float
    started: float | None
    ended: float | None
    finish: int | None
    taught: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many trials of one kind are in which state; one that went on counts as the one it became.

    Attributes:
        queued: Waiting, or waiting again.
        running: Running, or interrupted if no search is.
        done: Returned.
        failed: Given up.
        replaced: Those of the failed for which another trial was proposed, the machine being at fault.
    """

    queued: int
    running: int
    done: int
    failed: int
    replaced: int

    @property
    def proposed(self) -> int:
        """Trials that count towards the number asked for."""
        return self.queued + self.running + self.done + self.failed - self.replaced


def result_to_json(result: Result) -> str:
    """Write a result as strict JSON; numbers that are not finite become strings."""
    return json.dumps(
        {
            "reward": _plain(result.reward),
            "metrics": figures_to_plain(result.metrics),
            "test": figures_to_plain(result.test),
            "curve": [_plain(value) for value in result.curve],
            "seconds": None if result.seconds is None else _plain(result.seconds),
        },
        separators=(",", ":"),
        allow_nan=False,
    )


def result_from_json(text: str) -> Result:
    """Read what ``result_to_json`` wrote."""
    document = json.loads(text)
    return Result(
        reward=float(document["reward"]),
        metrics=figures_from_plain(document["metrics"]),
        test=figures_from_plain(document["test"]),
        curve=tuple(float(value) for value in document["curve"]),
        seconds=None if document["seconds"] is None else float(document["seconds"]),
    )


def figures_to_plain(figures: Mapping[str, float]) -> dict[str, float | str]:
    """Make figures fit for strict JSON."""
    return {name: _plain(float(value)) for name, value in figures.items()}


def figures_from_plain(figures: Mapping[str, float | str]) -> dict[str, float]:
    """Undo ``figures_to_plain``."""
    return {name: float(value) for name, value in figures.items()}


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
