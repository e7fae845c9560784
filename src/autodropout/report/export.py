"""Trials and updates for other tools: flat tables, an Optuna study, TensorBoard scalars."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from autodropout.errors import UsageError
from autodropout.report.record import Record, check_not_empty, read_record, reward_of
from autodropout.report.tables import drop_rate
from autodropout.result import Trial

Target = Literal["csv", "parquet", "optuna", "tensorboard"]
Cell = str | int | float | bool | None
Table = Mapping[str, Sequence[Cell]]


def export(out: str | os.PathLike[str], to: Target) -> tuple[Path, ...]:
    """Write a study's trials and updates for another tool, into the study's own directory.

    ``"csv"`` and ``"parquet"`` give ``trials`` (all kinds, one column per decision) and ``updates``.
    ``"optuna"`` gives ``optuna.db``, a study of the search trials with one drop rate and one size per
    site, not every decision: Optuna's storage and dashboard become slow with many. ``"tensorboard"``
    gives the event files of rewards over trials and of the searcher's figures over updates. What an
    earlier export wrote is replaced.

    Args:
        out: Directory of the study; a search may be running there.
        to: For which tool.

    Returns:
        The files written.

    Raises:
        LedgerError: There is no study, or its ledger is damaged.
        UsageError: No trial has ended, the target is unknown, its library is not installed, or a file
            cannot be written.
    """
    if to not in get_args(Target):
        raise UsageError(f"to is {to!r}; expected one of {', '.join(get_args(Target))}")
    record = read_record(out)
    check_not_empty(record)
    try:
        return _writer(to)(record)
    except OSError as error:
        raise UsageError(f"the export cannot be written ({error}); make room or check permissions") from error


def trial_table(record: Record) -> Table:
    """Return all trials as columns; a curve is written as numbers with spaces between.

    ``reward`` is what the trial returned, ``taught_reward`` what the searcher was taught. A decision's
    column is named ``site.choice`` and empty where the decision is dead; ``drop_rate.site`` is exact and
    0 where the site is off.
    """
    trials = record.trials
    columns: dict[str, Sequence[Cell]] = {
        "trial": [trial.id for trial in trials],
        "kind": [trial.kind for trial in trials],
        "state": [trial.state for trial in trials],
        "budget": [trial.budget for trial in trials],
        "reward": [reward_of(trial) for trial in trials],
        "taught_reward": [trial.reward for trial in trials],
        "seconds": [trial.result.seconds if trial.result else None for trial in trials],
        "seed": [trial.seed for trial in trials],
        "attempts": [trial.attempt for trial in trials],
        "updates_made": [trial.update for trial in trials],
        "log_prob": [trial.log_prob for trial in trials],
        "error": [trial.error for trial in trials],
    }
    for name in ("queued", "started", "ended", "finish", "taught"):
        columns[name] = [getattr(record.timings[trial.id], name) for trial in trials]
    return columns | _figures(trials) | _decisions(record) | _rates(record)


def update_table(record: Record) -> Table:
    """Return the searcher's updates as columns."""
    updates = record.updates
    names = sorted({name for update in updates for name in update.figures} - {"updates"})
    columns: dict[str, Sequence[Cell]] = {
        "update": [update.number for update in updates],
        "made": [update.made for update in updates],
        "seconds": [update.seconds for update in updates],
        "trials": [" ".join(map(str, update.trials)) for update in updates],
    }
    return columns | {name: [update.figures.get(name) for update in updates] for name in names}


def _writer(to: Target) -> Callable[[Record], tuple[Path, ...]]:
    match to:
        case "csv":
            return _write_csv
        case "parquet":
            return _write_parquet
        case "optuna":
            from autodropout.report.optuna_study import write_optuna

            return write_optuna
        case "tensorboard":
            from autodropout.report.scalars import write_scalars

            return write_scalars


def _write_csv(record: Record) -> tuple[Path, ...]:
    paths = []
    for name, table in (("trials", trial_table(record)), ("updates", update_table(record))):
        paths.append(record.out / f"{name}.csv")
        with paths[-1].open("w", encoding="utf8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(table)
            writer.writerows(zip(*table.values(), strict=True))
    return tuple(paths)


def _write_parquet(record: Record) -> tuple[Path, ...]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError(
            "Parquet needs pyarrow, which is not installed; "
            "install it with: pip install pyarrow, or export to csv"
        ) from error
    paths = []
    for name, table in (("trials", trial_table(record)), ("updates", update_table(record))):
        paths.append(record.out / f"{name}.parquet")
        columns = {column: _uniform(values) for column, values in table.items()}
        parquet.write_table(pyarrow.table(columns), paths[-1])
    return tuple(paths)


def _uniform(values: Sequence[Cell]) -> Sequence[Cell]:
    """Return values of one type, as a column needs them: as they are, as floats, or as text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _figures(trials: Sequence[Trial]) -> dict[str, Sequence[Cell]]:
    metrics = [dict(trial.result.metrics) if trial.result else {} for trial in trials]
    tests = [dict(trial.result.test) if trial.result else {} for trial in trials]
    columns: dict[str, Sequence[Cell]] = {}
    for prefix, figures in (("metric", metrics), ("test", tests)):
        for name in sorted({name for figure in figures for name in figure}):
            columns[f"{prefix}.{name}"] = [figure.get(name) for figure in figures]
    columns["curve"] = [" ".join(map(repr, trial.result.curve)) if trial.result else None for trial in trials]
    return columns


def _decisions(record: Record) -> dict[str, Sequence[Cell]]:
    space = record.space
    live = [space.live(trial.tokens) for trial in record.trials]
    return {
        ".".join(part for part in (choice.site, choice.name) if part): [
            choice.values[trial.tokens[place]] if alive[place] else None
            for trial, alive in zip(record.trials, live, strict=True)
        ]
        for place, choice in enumerate(space.choices)
    }


def _rates(record: Record) -> dict[str, Sequence[Cell]]:
    sites = record.space.site_choices
    return {
        f"drop_rate.{site}": [
            drop_rate(site, trial.policy.sites[site], record.space) if site in trial.policy.sites else 0.0
            for trial in record.trials
        ]
        for site in sites
    }
