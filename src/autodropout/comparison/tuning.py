"""Which strength of a baseline is best: a few of them tried by their reward, on seeds of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from autodropout.comparison.findings import Comparison
from autodropout.engine.trial_seeds import tuning_seed
from autodropout.errors import StudyError, UsageError
from autodropout.result import Result

LEAST_TRIALS = 4
"""Two strengths on two seeds: with less there is nothing to choose from, or only luck to choose by."""

_LEAST_SEEDS = 2

Train = Callable[[int], Result | float]
"""Trains once, everything random drawn from the seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What is tried to tune one baseline.

    Attributes:
        baseline: Its name.
        strengths: From weak to strong.
        seeds: How many, the same for every strength.
    """

    baseline: str
    strengths: tuple[float, ...]
    seeds: int

    @classmethod
    def spread(cls, baseline: str, grid: Sequence[float], trials: int) -> Self:
        """Spread at most this many trials over a grid: two seeds at least, more once every strength is tried.

        Args:
            baseline: Its name.
            grid: All strengths worth trying, from weak to strong.
            trials: Most trials, at least ``LEAST_TRIALS``.

        Raises:
            UsageError: There are too few trials.

        Example:
            >>> Sweep.spread("dropout", (0.1, 0.2, 0.3, 0.4, 0.5), 6)
            Sweep(baseline='dropout', strengths=(0.1, 0.3, 0.5), seeds=2)
        """
        if trials < LEAST_TRIALS:
            raise UsageError(
                f"tune_trials is {trials!r}; expected at least {LEAST_TRIALS}: two strengths on two seeds"
            )
        seeds = max(_LEAST_SEEDS, trials // len(grid))
        num = min(len(grid), trials // seeds)
        places = [round(step * (len(grid) - 1) / (num - 1)) for step in range(num)]
        return cls(baseline=baseline, strengths=tuple(grid[place] for place in places), seeds=seeds)

    def arms(self, train_at: Callable[[float], Train]) -> dict[str, Train]:
        """Return the arms of the comparison by reward that tells the best strength.

        Their seeds are shifted: no search, confirmation or comparison ever uses those that they train on.

        Args:
            train_at: Returns what trains at a strength.
        """
        return {
            _arm(strength): partial(_on_seed_for_tuning, train_at(strength)) for strength in self.strengths
        }

    def read(self, found: Comparison) -> "Tuned":
        """Return what that comparison showed.

        Raises:
            StudyError: No strength has a reward.
        """
        means = {row.name: None if row.summary is None else row.summary.mean for row in found.rows}
        rewards = tuple(means[_arm(strength)] for strength in self.strengths)
        if all(reward is None for reward in rewards):
            errors = [row.error for row in found.rows if row.error is not None]
            raise StudyError(f"no trial of the baseline {self.baseline!r} has a reward ({errors[-1]})")
        return Tuned(sweep=self, rewards=rewards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A baseline at its best.

    Attributes:
        sweep: What was tried.
        rewards: Mean reward of each strength; None where no trial has one.
    """

    sweep: Sweep
    rewards: tuple[float | None, ...]

    @property
    def reward(self) -> float:
        """The best mean reward; the highest of several, and so slightly flattering."""
        return max(reward for reward in self.rewards if reward is not None)

    @property
    def strength(self) -> float:
        """The strength that has it; the weakest of equals."""
        return self.sweep.strengths[self.rewards.index(self.reward)]

    @property
    def trials(self) -> int:
        """What the tuning cost."""
        return len(self.sweep.strengths) * self.sweep.seeds

    def __str__(self) -> str:
        tried = self.sweep.strengths
        edge = {tried[0]: ", the weakest tried", tried[-1]: ", the strongest tried"}
        return (
            f"{self.sweep.baseline}: strength {self.strength:g}{edge.get(self.strength, '')}, mean reward "
            f"{self.reward:.4f} (tuned in {self.trials} trials: {len(tried)} strengths on {self.sweep.seeds} "
            "seeds)"
        )


def _arm(strength: float) -> str:
    return f"{strength:g}"


def _on_seed_for_tuning(train: Train, seed: int) -> Result | float:
    return train(tuning_seed(seed))
