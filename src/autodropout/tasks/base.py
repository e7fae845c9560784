"""What a task is: data set, model, training recipe and reward under one name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from torch import nn

from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.space import Space
from autodropout.tasks.saving import Saving

Prepare = Callable[[nn.Module], object]
"""Changes a fresh model before it is trained, such as by putting dropout on its sites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A known method with one knob, put on a task's model as its authors would.

    Attributes:
        name: Word for it on the command line.
        strengths: Values of the knob worth trying, from weak to strong.
        put: Called as put(model, strength); can be pickled.

    Raises:
        UsageError: There are fewer than two strengths, or they do not rise.
    """

    name: str
    strengths: tuple[float, ...]
    put: Callable[[nn.Module, float], object]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.strengths, self.strengths[1:], strict=False))
        if len(self.strengths) < 2 or not rising or not all(map(math.isfinite, self.strengths)):
            raise UsageError(
                f"baseline {self.name!r} has strengths {self.strengths!r}; expected at least two, rising"
            )

    def at(self, strength: float) -> Prepare:
        """Return what puts it on a model with this strength."""
        return lambda model: self.put(model, strength)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What policies are compared by on held-out data.

    Attributes:
        name: Of a figure in ``Result.test``; None takes the first.
        higher_is_better: Whether more of it is better.
        floor: What a training that diverged counts as.
    """

    name: str | None
    higher_is_better: bool
    floor: float


def perplexity(vocabulary: int) -> Figure:
    """Return the held-out figure of a language model: less is better, a guess among all words the worst."""
    return Figure(name="perplexity", higher_is_better=False, floor=float(vocabulary))


@runtime_checkable
class HasFigure(Protocol):
    """A task whose held-out figure is no reward: less of it is better, or it has another unit."""

    @property
    def figure(self) -> Figure:
        """What is compared."""
        ...


def figure_of(task: "Task") -> Figure:
    """Return what a task's policies are compared by: without a word of its own, its first test figure."""
    if isinstance(task, HasFigure):
        return task.figure
    return Figure(name=None, higher_is_better=True, floor=task.floor)


class Task(Protocol):
    """A data set, a model, a training recipe and a reward.

    ``train`` and ``evaluate`` are pure functions of their arguments on one machine; the task itself can
    be pickled, for it travels to worker processes.
    """

    @property
    def name(self) -> str:
        """Word for it on the command line."""
        ...

    @property
    def key(self) -> str:
        """What figures on this task are comparable under; ledgers are labelled with it.

        The name, unless the data differ from one computer to another.
        """
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

    @property
    def baselines(self) -> tuple[Baseline, ...]:
        """Known methods that a policy for this task has to beat."""
        ...

    def missing(self) -> str | None:
        """Return what to do to get the data, as one sentence; None if they are there."""
        ...

    def space(self) -> Space:
        """Return the policies that can be searched."""
        ...

    def model(self) -> nn.Module:
        """Return a model as training begins with, its weights drawn from torch's generator."""
        ...

    def train(self, prepare: Prepare, seed: int) -> Result:
        """Train one model that ``prepare`` has changed, everything random drawn from the seed."""
        ...

    def evaluate(self, policy: Policy, seed: int, budget: float = 1.0) -> Result:
        """Train one model with the policy: ``train`` where ``prepare`` applies it.

        ``budget`` is the fraction of the optimiser steps, in (0, 1], over which the schedule runs. A task
        may cut its training data along, so that each example is seen as often.
        """
        ...


@runtime_checkable
class Resumable(Protocol):
    """A task whose trainings can keep a checkpoint."""

    def keeping(self, saving: Saving) -> Self:
        """Return the task with trainings that keep a checkpoint there and go on from it."""
        ...

    def shortened(self, budget: float) -> Self:
        """Return the task as ``evaluate`` trains it with this budget."""
        ...
