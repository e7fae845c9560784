"""Searches that were repeated, side by side: how their policies differ, and how the searches do.

Two kinds of difference are told apart. Paired by seed, it says how the policies at hand differ; paired by
repeat, how searches differ, and there are as many pairs as searches of each kind.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from autodropout.comparison import Comparison, compare
from autodropout.comparison.arms import Arm
from autodropout.engine.options import ExecutorName
from autodropout.significance import paired_difference
from autodropout.tasks.base import Task, figure_of


class Running(Protocol):
    """How to run: on how many seeds, in how many processes or in this one."""

    @property
    def seeds(self) -> int: ...  # noqa: D102

    @property
    def workers(self) -> int: ...  # noqa: D102

    @property
    def executor(self) -> ExecutorName: ...  # noqa: D102


def trained_alike(
    task: Task, arms: Mapping[str, Arm], baselines: Sequence[str], out: Path, how: Running
) -> Comparison:
    """Train all arms on the same fresh seeds; what is compared are held-out figures.

    Args:
        task: What is trained.
        arms: By name.
        baselines: What the others are measured against.
        out: Directory of the comparison.
        how: How to run.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    figure = figure_of(task)
    return finished(
        compare(
            task.evaluate,
            arms,
            seeds=how.seeds,
            baselines=baselines,
            figure=figure.name,
            higher_is_better=figure.higher_is_better,
            workers=how.workers,
            executor=how.executor,
            out=out,
            floor=figure.floor,
            task=task.key,
        )
    )


def finished(comparison: Comparison) -> Comparison:
    """Return a comparison that has ended.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    if not comparison.finished:
        raise KeyboardInterrupt
    return comparison


def side_by_side(comparison: Comparison, kinds: Collection[str], against: str) -> dict[str, Any]:
    """Return the mean of each kind of search over all repeats, and its difference to one kind.

    Over repeats only where both kinds have as many of them.

    Args:
        comparison: Arms named kind-repeat, all with a figure on every seed.
        kinds: Which ones; those that have no arm are left out.
        against: The kind that the others are measured against.
    """
    values: dict[str, list[tuple[float, ...]]] = {}
    for name, runs in comparison.values.items():
        kind = name.rpartition("-")[0]
        if kind in kinds:
            values.setdefault(kind, []).append(tuple(v for v in runs if v is not None))
    facts: dict[str, Any] = {}
    for kind, repeats in values.items():
        means = [fmean(runs) for runs in repeats]
        facts[kind] = {"mean": fmean(means), "repeats": means}
        if kind == against or not (others := values.get(against)):
            continue
        by_seed = paired_difference(_over_repeats(repeats), _over_repeats(others))
        facts[kind]["by_seed"] = asdict(by_seed)
        if len(repeats) == len(others):
            by_repeat = paired_difference(means, [fmean(runs) for runs in others])
            facts[kind]["by_repeat"] = asdict(by_repeat)
    return facts


def side(name: str, facts: Mapping[str, Any]) -> str:
    """Return a row of a table in Markdown: the mean, each search, both differences."""
    places = 2 if abs(facts["mean"]) >= 1.0 else 4
    repeats = ", ".join(f"{mean:.{places}f}" for mean in facts["repeats"])
    cells = [name, f"{facts['mean']:.{places}f}", repeats]
    for word in ("by_seed", "by_repeat"):
        cells.append(_interval(facts[word], places) if word in facts else "")
    return f"| {' | '.join(cells)} |"


def _over_repeats(repeats: Sequence[Sequence[float]]) -> list[float]:
    return [fmean(on_one_seed) for on_one_seed in zip(*repeats, strict=True)]


def _interval(paired: Mapping[str, Any], places: int) -> str:
    difference, low, high = (paired[name] for name in ("difference", "low", "high"))
    if paired["p"] is None:
        return f"{difference:+.{places}f}"
    ends = f"{low:+.{places}f} to {high:+.{places}f}"
    return f"{difference:+.{places}f} ({ends}, p = {paired['p']:.2g})"
