"""What a task is: data set, model, training recipe and reward under one name."""

from dataclasses import dataclass
from typing import Protocol

from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a search of a task spends unless it is told otherwise.

    Attributes:
        trials: Policies that are trained.
        batch: M, the finished trials per update of the controller.
        confirm_top: Policies that are trained again at the end.
        confirm_seeds: Fresh seeds for each of them.
    """

    trials: int
    batch: int
    confirm_top: int
    confirm_seeds: int


class Task(Protocol):
    """A data set, a model, a training recipe and a reward.

    ``evaluate`` is a pure function of (policy, seed) on one machine; the task itself can be pickled, for
    it travels to worker processes.
    """

    @property
    def name(self) -> str:
        """Word for it on the command line."""
        ...

    @property
    def summary(self) -> str:
        """One line: data, model, reward."""
        ...

    @property
    def needs(self) -> str:
        """One line: which data it needs, how large they are and where they come from."""
        ...

    @property
    def seconds(self) -> float:
        """About how long a trial takes on one core or, for a task that needs one, on one GPU."""
        ...

    @property
    def floor(self) -> float:
        """Reward of a trial that diverges: what a model that learned nothing would get."""
        ...

    @property
    def budget(self) -> Budget:
        """What a search spends by default."""
        ...

    def missing(self) -> str | None:
        """Return what to do to get the data, as one sentence; None if they are there."""
        ...

    def space(self) -> Space:
        """Return the policies that can be searched."""
        ...

    def evaluate(self, policy: Policy, seed: int) -> Result:
        """Train one model with the policy, everything random drawn from the seed."""
        ...
