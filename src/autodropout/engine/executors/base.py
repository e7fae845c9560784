"""What an executor is: it runs trials somewhere and says how each of them ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from autodropout.policy import Policy
from autodropout.result import Result

Evaluate = Callable[[Policy, int], float | Result]
"""evaluate(policy, seed): train once with this policy and seed, return the reward or a Result.

Successive halving calls it with a third argument, the fraction of a full training, in (0, 1].
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt at one trial; (trial, attempt) is unique and fences late results off.

    Attributes:
        trial: Number of the trial.
        attempt: Number of the attempt, from 1.
        policy: What to train with.
        seed: Seed for the evaluation.
        budget: Fraction of a full training, in (0, 1]; None calls evaluate(policy, seed) without one.
    """

    trial: int
    attempt: int
    policy: Policy
    seed: int
    budget: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The evaluation returned; its reward may be NaN or infinite. ``result.seconds`` is always set."""

    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """The evaluation raised, or returned what is no Result: the user's fault."""

    error: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """The evaluation ran into its time limit and was killed."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The worker went away (killed from outside, out of memory, node gone): the machine's fault."""

    reason: str


Outcome = Done | Raised | TimedOut | Lost


class Executor(Protocol):
    """Runs jobs, at most ``capacity`` at a time."""

    @property
    def capacity(self) -> int:
        """Number of slots, at least 1; it may change while the search runs."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job at once; there must be a free slot."""
        ...

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """Return the jobs that ended, waiting at most ``timeout`` seconds for the first of them."""
        ...

    def cancel(self, job: Job) -> None:
        """Stop a job; it never shows up in ``poll``. Unknown jobs are ignored."""
        ...

    def close(self) -> None:
        """Stop everything and leave no process behind. May be called twice."""
        ...
