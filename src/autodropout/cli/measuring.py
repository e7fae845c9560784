"""Trials per hour at different numbers of slots: what ``autodropout calibrate`` measures."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from autodropout.engine.executors.base import Done, Evaluate, Executor, Job, Lost, Outcome, Raised
from autodropout.engine.executors.local import LocalExecutor
from autodropout.errors import StudyError
from autodropout.policy import Policy
from autodropout.space import Space

_POLL_SECONDS = 5.0
ENOUGH = 0.95
"""Of two numbers of slots that reach this share of the best rate, the smaller is proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a number of slots achieves.

    Attributes:
        slots: Trials at a time.
        trials: Trials that were timed.
        per_hour: Trials per hour.
        seconds: Mean duration of a trial.
        problem: Why it cannot be used; empty if it can.
    """

    slots: int
    trials: int
    per_hour: float
    seconds: float
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What to measure.

    Attributes:
        slots: Numbers of slots, rising.
        trials: Timed trials per slot; each number of slots trains the same policies.
        devices: CUDA devices for the slots, in turn; None leaves them all visible.
    """

    slots: Sequence[int]
    trials: int
    devices: Sequence[int | str] | None = None


def rates(evaluate: Evaluate, space: Space, how: Calibration) -> Iterator[Rate]:
    """Measure one number of slots after the other; the first that fails for want of memory is the last.

    Raises:
        StudyError: A trial raised.
    """
    policies = sampled(space, how.trials)
    for slots in how.slots:
        with closing(LocalExecutor(evaluate, workers=slots, devices=how.devices)) as executor:
            rate = measured(executor, policies)
        yield rate
        if rate.problem:
            return


def sampled(space: Space, number: int) -> list[Policy]:
    """Return policies of a space, always the same."""
    generator = random.Random(0)
    return [space.decode(space.sample(generator)) for _ in range(number)]


def measured(executor: Executor, policies: Sequence[Policy]) -> Rate:
    """Time these policies once per slot, after a trial per slot that is not timed: it loads what is needed.

    Raises:
        StudyError: A trial raised.
    """
    slots = executor.capacity
    warm = _jobs(policies[:1], slots)
    if problem := _run(executor, warm)[1]:
        return Rate(slots=slots, trials=0, per_hour=0.0, seconds=0.0, problem=problem)
    began = time.monotonic()
    seconds, problem = _run(executor, _jobs(policies, slots))
    passed = time.monotonic() - began
    if problem:
        return Rate(slots=slots, trials=len(seconds), per_hour=0.0, seconds=0.0, problem=problem)
    mean = sum(seconds) / len(seconds)
    return Rate(slots=slots, trials=len(seconds), per_hour=3600 * len(seconds) / passed, seconds=mean)


def proposed(found: Sequence[Rate]) -> Rate | None:
    """Return the fewest slots that are about as fast as the fastest; None if none could be used."""
    usable = [rate for rate in found if not rate.problem]
    best = max((rate.per_hour for rate in usable), default=0.0)
    return next((rate for rate in usable if rate.per_hour >= ENOUGH * best), None)


def _jobs(policies: Sequence[Policy], slots: int) -> list[Job]:
    """Return jobs that give every slot each policy once."""
    repeated = [policy for policy in policies for _ in range(slots)]
    return [
        Job(trial=number, attempt=1, policy=policy, seed=number) for number, policy in enumerate(repeated, 1)
    ]


def _run(executor: Executor, jobs: list[Job]) -> tuple[list[float], str]:
    """Run jobs and return their durations, and what went wrong."""
    waiting, running = list(reversed(jobs)), 0
    seconds: list[float] = []
    while waiting or running:
        while waiting and running < executor.capacity:
            executor.submit(waiting.pop())
            running += 1
        for _, outcome in executor.poll(_POLL_SECONDS):
            running -= 1
            if not isinstance(outcome, Done):
                return seconds, _problem(outcome)
            seconds.append(outcome.result.seconds or 0.0)
    return seconds, ""


def _problem(outcome: Outcome) -> str:
    if isinstance(outcome, Raised):
        error = StudyError(f"a trial raised ({outcome.error}); mend the task first")
        error.add_note(outcome.traceback)
        raise error
    return outcome.reason if isinstance(outcome, Lost) else "it took too long"
