"""What a comparison of searchers shows: means with intervals, differences to random, trials needed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autodropout.benchmark.plan import REFERENCE, Plan
from autodropout.benchmark.racing import Races
from autodropout.benchmark.simulating import Simulated
from autodropout.benchmark.variants import Variant
from autodropout.significance import Paired, Summary, paired_difference, summarise

Floats = NDArray[np.float64]

_WINDOW = 32
"""Proposals that a moving mean is over."""

_DRAWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A variant at one budget, all in noise-free reward.

    Attributes:
        trials: The budget.
        value: Of the policy that a user would end with after confirmation.
        unconfirmed: Of the policy whose single trial was best.
        proposals: Mean over the last 32 proposals.
        difference: ``value`` less that of random search, pairs being repetitions; None for itself.
    """

    trials: int
    value: Summary
    unconfirmed: Summary
    proposals: Summary
    difference: Paired | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """After how many trials the median search is as good as random search is after all of them.

    Attributes:
        trials: The first look at which it is; None if it never is.
        low: 2.5% quantile over repetitions drawn with replacement; None if it never is.
        high: 97.5% quantile, likewise.
    """

    trials: int | None
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A variant's longest run.

    Attributes:
        trials: Points.
        ended: Value of the policy that a user would end with there.
        unconfirmed: Of the policy whose single trial is best so far.
        proposals: Mean over the 32 proposals before it.
    """

    trials: tuple[int, ...]
    ended: tuple[Summary, ...]
    unconfirmed: tuple[Summary, ...]
    proposals: tuple[Summary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Everything about one variant.

    Attributes:
        variant: Which one.
        repetitions: Searches per budget.
        standings: One per budget.
        reached: Trials needed to be as good as random search with the largest budget.
        curve: The course of its longest run.
    """

    variant: Variant
    repetitions: int
    standings: tuple[Standing, ...]
    reached: Reached
    curve: Curve


def standings(plan: Plan, races: Races) -> tuple[Row, ...]:
    """Return one row per variant, in the plan's order.

    Args:
        plan: What was run.
        races: What came of it.
    """
    return tuple(_row(plan, variant, races) for variant in plan.variants)


def to_plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows as plain JSON values."""
    plain: list[dict[str, Any]] = json.loads(json.dumps([asdict(row) for row in rows]))
    return plain


def _row(plan: Plan, variant: Variant, races: Races) -> Row:
    mine, reference = races[variant.name], races[REFERENCE]
    most = plan.budgets[-1]
    return Row(
        variant=variant,
        repetitions=plan.repetitions_of(variant),
        standings=tuple(_standing(variant, trials, mine, reference) for trials in plan.budgets),
        reached=_reached(_run(mine, most), _run(reference, most), plan.seed),
        curve=_curve(_run(mine, most)),
    )


def _run(runs: Mapping[int, Simulated], trials: int) -> Simulated:
    """Return the run that was planned for this budget."""
    return next(run for run in runs.values() if trials in run.budgets)


def _standing(
    variant: Variant, trials: int, mine: Mapping[int, Simulated], reference: Mapping[int, Simulated]
) -> Standing:
    run = _run(mine, trials)
    ended, theirs = _ended(run, trials), _ended(_run(reference, trials), trials)[: len(run.ended)]
    last = run.proposed[:, max(0, trials - _WINDOW) : trials].mean(axis=1)
    return Standing(
        trials=trials,
        value=summarise(ended.tolist()),
        unconfirmed=summarise(run.unconfirmed[:, run.looks.index(trials)].tolist()),
        proposals=summarise(last.tolist()),
        difference=None if variant.name == REFERENCE else paired_difference(ended.tolist(), theirs.tolist()),
    )


def _ended(run: Simulated, trials: int) -> Floats:
    return run.ended[:, run.looks.index(trials)]


def _curve(run: Simulated) -> Curve:
    windows = [run.proposed[:, max(0, look - _WINDOW) : look].mean(axis=1) for look in run.looks]
    return Curve(
        trials=run.looks,
        ended=tuple(summarise(column.tolist()) for column in run.ended.T),
        unconfirmed=tuple(summarise(column.tolist()) for column in run.unconfirmed.T),
        proposals=tuple(summarise(window.tolist()) for window in windows),
    )


def _reached(run: Simulated, reference: Simulated, seed: int) -> Reached:
    n = len(run.ended)
    targets = reference.ended[:n, -1]
    point = _first(run.ended, targets, run.looks)
    rng = np.random.default_rng(seed)
    drawn = [_first(run.ended[rows], targets[rows], run.looks) for rows in rng.integers(n, size=(_DRAWS, n))]
    low, high = np.quantile([np.inf if d is None else d for d in drawn], [0.025, 0.975], method="nearest")
    return Reached(trials=point, low=_finite(low), high=_finite(high))


def _first(ended: Floats, targets: Floats, looks: Sequence[int]) -> int | None:
    there = np.median(ended, axis=0) >= np.median(targets)
    return looks[int(np.argmax(there))] if there.any() else None


def _finite(trials: float) -> int | None:
    return int(trials) if np.isfinite(trials) else None
