"""What a running search tells whoever watches it, such as a progress bar."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from autodropout.result import TrialKind

PhaseName = Literal["search", "confirm", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBegan:
    """A phase begins, or goes on after a resume; ``"done"`` ends the study.

    A resumed study has no event for a phase in which nothing is left to do.

    Attributes:
        phase: Which one.
        total: Trials that it asks for.
        done: How many of them had ended before, failed ones included.
        failed: How many of those had failed.
        best: Best reward of a search trial so far; None before the first.
    """

    phase: PhaseName
    total: int
    done: int
    failed: int
    best: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """An attempt at a trial was handed to the executor."""

    kind: TrialKind
    trial: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFinished:
    """A trial returned.

    Attributes:
        kind: Kind of the trial.
        trial: Its number.
        reward: Its reward, the floor if it diverged; None while no floor is known.
        floored: Whether it diverged.
        seconds: Its training time.
        budget: Fraction of a full training that it got: below 1 if successive halving stops it there.
    """

    kind: TrialKind
    trial: int
    reward: float | None
    floored: bool
    seconds: float | None
    budget: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPromoted:
    """A search trial returned and goes on with a larger budget, as a trial of its own.

    Attributes:
        trial: Its number.
        reward: Its reward.
        budget: Fraction of a full training that it got.
        seconds: Its training time.
        successor: Number of the trial in which it goes on.
    """

    trial: int
    reward: float
    budget: float
    seconds: float | None
    successor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRetried:
    """An attempt went wrong; the trial goes back to the queue."""

    kind: TrialKind
    trial: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFailed:
    """A trial was given up.

    Attributes:
        kind: Kind of the trial.
        trial: Its number.
        error: What went wrong.
        replaced: Whether the machine was at fault: then nothing is taught and another trial takes its place.
    """

    kind: TrialKind
    trial: int
    error: str
    replaced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The searcher made an update."""

    update: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The search was asked to pause (True) or to go on (False)."""

    paused: bool


Event = (
    PhaseBegan | TrialStarted | TrialFinished | TrialPromoted | TrialRetried | TrialFailed | Learned | Paused
)
Notify = Callable[[Event], None]


def unheard(event: Event) -> None:
    """Take an event that nobody watches."""
    del event
