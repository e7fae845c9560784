"""Plain records of what a trial is and what it returned."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from autodropout.errors import UsageError
from autodropout.policy import Policy

TrialKind = Literal["search", "confirm", "compare"]
TrialState = Literal["queued", "running", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a trial returns.

    Attributes:
        reward: The number to maximise. NaN or infinite means that the trial diverged.
        metrics: Other validation figures by name, such as ``{"val_loss": 0.3}``.
        test: Held-out figures by name. Recorded, never shown to the searcher.
        curve: Validation metric (or reward) over training, oldest first.
        seconds: Wall-clock training time; None lets the search measure it.

    Raises:
        UsageError: A value is no number, or the time is negative.
    """

    reward: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    seconds: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", _number("reward", self.reward))
        object.__setattr__(self, "curve", _numbers("curve", self.curve))
        object.__setattr__(self, "metrics", _figures("metrics", self.metrics))
        object.__setattr__(self, "test", _figures("test", self.test))
        if self.seconds is not None:
            object.__setattr__(self, "seconds", _number("seconds", self.seconds))
            if not 0.0 <= self.seconds < math.inf:
                raise UsageError(f"seconds is {self.seconds!r}; expected a duration of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One proposal, and what became of it. A snapshot: it does not follow the ledger.

    Attributes:
        id: Number of the trial in its ledger, from 1.
        kind: ``"search"`` trials teach the searcher; ``"confirm"`` and ``"compare"`` do not.
        tokens: The proposal's tokens; empty where no tokens describe the policy.
        policy: What the tokens decode to.
        log_prob: Log-probability of the tokens when they were drawn; None if it has none.
        seed: Seed that the trial was given.
        state: ``"queued"``, ``"running"``, ``"done"`` or ``"failed"``.
        attempt: Attempts started so far.
        update: Number of controller updates that had been made when it was proposed.
        result: What it returned; None unless done (a diverged trial is done).
        reward: What the searcher is taught (the floor if it diverged); None if nothing is.
        error: Last line of what went wrong, if anything did.
        budget: Fraction of a full training that it got; below 1 only under successive halving, where what
            is taught (``reward``) is a prediction, or None if a trial of the same policy goes on.
    """

    id: int
    kind: TrialKind
    tokens: tuple[int, ...]
    policy: Policy
    log_prob: float | None
    seed: int
    state: TrialState
    attempt: int
    update: int
    result: Result | None
    reward: float | None
    error: str | None
    budget: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A policy that was run again on fresh seeds after the search.

    Attributes:
        policy: The policy.
        tokens: Its canonical tokens.
        trial: Number of the search trial that proposed it.
        rewards: Rewards on the fresh seeds, in order of seed; the search's own reward is not among them.
        reward: Their mean.
        spread: Their standard deviation (n - 1); None with fewer than two.
    """

    policy: Policy
    tokens: tuple[int, ...]
    trial: int
    rewards: tuple[float, ...]
    reward: float
    spread: float | None


def _figures(name: str, figures: object) -> dict[str, float]:
    if not isinstance(figures, Mapping):
        raise UsageError(f"{name} is {figures!r}; expected a mapping from names to numbers")
    return {str(key): _number(f"{name}[{key!r}]", value) for key, value in figures.items()}


def _numbers(name: str, values: object) -> tuple[float, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UsageError(f"{name} is {values!r}; expected a sequence of numbers")
    return tuple(_number(f"{name}[{place}]", value) for place, value in enumerate(values))


def _number(name: str, value: object) -> float:
    try:
        if not isinstance(value, str | bytes):
            return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{name} is {value!r}, which is not a number") from error
    raise UsageError(f"{name} is {value!r}, which is not a number")
