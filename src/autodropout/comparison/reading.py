"""From recorded runs to a comparison: each arm against its best rival on the same seeds."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autodropout.comparison.findings import Comparison, difference_of
from autodropout.comparison.row import Row
from autodropout.errors import UsageError
from autodropout.result import Result, Trial
from autodropout.significance import Paired, Summary, holm, summarise

Values = tuple[float | None, ...]
Runs = tuple[Trial | None, ...]

REWARD = "reward"
"""Figure that stands for the reward itself."""

_ENDED = ("done", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the runs of a comparison are read.

    Attributes:
        figure: Test figure to compare, or ``"reward"``; None for the first test figure, or the reward
            where there is none.
        higher_is_better: Whether more of it is better.
        baselines: Arms that the others are measured against; None for all.
        floor: What a run that diverged counts as; None leaves its seed out.
    """

    figure: str | None = None
    higher_is_better: bool = True
    baselines: tuple[str, ...] | None = None
    floor: float | None = None


def comparison_of(
    trials: Sequence[Trial], names: Sequence[str], seeds: Sequence[int], reading: Reading
) -> Comparison:
    """Return the comparison that these runs make.

    Args:
        trials: The runs, of kind ``"compare"``; the only token is the arm's position.
        names: The arms.
        seeds: The seeds.
        reading: How to read the runs.

    Raises:
        UsageError: A run has not the figure asked for.
    """
    figure = reading.figure or _first_figure([trial.result for trial in trials if _sound(trial)])
    runs = {name: _in_order(trials, arm, seeds) for arm, name in enumerate(names)}
    values = {name: tuple(_value(run, name, figure, reading.floor) for run in runs[name]) for name in names}
    differences = _differences(values, reading.baselines or names, reading.higher_is_better)
    adjusted = _adjusted(differences)
    rows = tuple(_row(name, runs[name], values[name], *differences[name], adjusted[name]) for name in names)
    return Comparison(
        figure=figure,
        higher_is_better=reading.higher_is_better,
        seeds=tuple(seeds),
        rows=rows,
        values=values,
        finished=all(run is not None and run.state in _ENDED for name in names for run in runs[name]),
    )


def _in_order(trials: Sequence[Trial], arm: int, seeds: Sequence[int]) -> Runs:
    by_seed = {trial.seed: trial for trial in trials if trial.tokens == (arm,)}
    return tuple(by_seed.get(seed) for seed in seeds)


def _row(
    name: str, runs: Runs, values: Values, against: str | None, paired: Paired | None, p: float | None
) -> Row:
    results = [run.result for run in runs if run is not None and run.result is not None]
    ill = [run for run in runs if run is not None and run.state in _ENDED and not _sound(run)]
    return Row(
        name=name,
        missing=values.count(None),
        floored=len(values) - values.count(None) - sum(_sound(run) for run in runs),
        error=ill[-1].error if ill else None,
        summary=_summary(values),
        against=against,
        paired=paired,
        adjusted_p=p,
        seconds=_mean([result.seconds for result in results]),
        parameters=_mean([result.metrics.get("parameters") for result in results]),
    )


def _sound(run: Trial | None) -> bool:
    return run is not None and run.result is not None and math.isfinite(run.result.reward)


def _first_figure(results: Sequence[Result | None]) -> str:
    """Return the test figure that comes first in every result, or the reward if there is no such."""
    firsts = {next(iter(result.test), REWARD) for result in results if result is not None}
    return firsts.pop() if len(firsts) == 1 else REWARD


def _value(run: Trial | None, name: str, figure: str, floor: float | None) -> float | None:
    if run is None or run.result is None:
        return None
    if not math.isfinite(run.result.reward):
        return floor
    return run.result.reward if figure == REWARD else _test_figure(run.result, name, figure)


def _test_figure(result: Result, name: str, figure: str) -> float:
    value = result.test.get(figure)
    if value is None or not math.isfinite(value):
        raise UsageError(
            f"arm {name!r} returned {value} as its test figure {figure!r}, it has {sorted(result.test)}; "
            f"its runs are kept: call again with another figure, such as {REWARD!r}"
        )
    return value


def _differences(
    values: Mapping[str, Values], baselines: Collection[str], higher_is_better: bool
) -> dict[str, tuple[str | None, Paired | None]]:
    means = {name: summary.mean for name, v in values.items() if (summary := _summary(v)) is not None}
    differences: dict[str, tuple[str | None, Paired | None]] = {}
    for name in values:
        rivals = [b for b in baselines if b != name and b in means]
        if not rivals:
            differences[name] = None, None
            continue
        rival = max(rivals, key=lambda b: means[b] if higher_is_better else -means[b])
        differences[name] = rival, difference_of(values[name], values[rival])
    return differences


def _adjusted(differences: Mapping[str, tuple[str | None, Paired | None]]) -> dict[str, float | None]:
    """Return Holm's p-value for every arm; best against second is one test, whichever of them asks."""
    tests = {
        frozenset((name, rival)): None if paired is None else paired.p
        for name, (rival, paired) in differences.items()
        if rival is not None
    }
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    return {
        name: None if rival is None else adjusted[frozenset((name, rival))]
        for name, (rival, _) in differences.items()
    }


def _summary(values: Values) -> Summary | None:
    there = [value for value in values if value is not None]
    return summarise(there) if there else None


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None
