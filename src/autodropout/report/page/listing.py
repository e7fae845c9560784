"""All trials, what went wrong, and where the study comes from."""

import json
from collections.abc import Mapping, Sequence

from autodropout.report.markup import Markup, element
from autodropout.report.page.words import (
    cell,
    counted,
    duration,
    facts,
    figure,
    moment,
    more,
    percent,
    section,
    table,
)
from autodropout.report.record import Record
from autodropout.report.tables import Failure, TrialRow

MOST_ROWS = 1000
"""Trials in the table; of more only the best are shown."""


def trials_section(rows: Sequence[TrialRow]) -> Markup:
    """Return the sortable table of search trials."""
    tests = sorted({name for row in rows for name in row.test})
    headings = [("trial", True), ("reward", True), *((f"test {name}", True) for name in tests)]
    headings += [("time", True), ("updates", True), ("attempts", True), ("state", False)]
    headings += [("sites on, with drop rate", False)]
    words = (
        "Click a heading to sort. Updates: how many the searcher had made when it proposed the trial. Test "
        "figures come from held-out data and were never shown to the searcher."
    )
    if len(rows) > MOST_ROWS:
        words += f" These are the best {MOST_ROWS:,} of {len(rows):,}; autodropout export has them all."
    body = [_cells(row, tests) for row in rows[:MOST_ROWS]]
    return section("trials", "Trials", words, table(headings, body, sortable=True))


def failures_section(failures: Sequence[Failure], total: int) -> Markup:
    """Return what went wrong, with the end of each log."""
    if not failures:
        return section("failures", "Failures", "None: no trial failed, diverged or had to be run again.")
    words = (
        f"{counted(total, 'trial')} failed, diverged or had to be run again. Each with the end of the log "
        "of its last attempt."
    )
    if total > len(failures):
        words += f" These are the last {len(failures)}."
    return section("failures", "Failures", words, *(_failure(failure) for failure in failures))


def provenance_section(record: Record) -> Markup:
    """Return with what, where and how the study was made."""
    study = record.study
    one_seed = ", all trials with the same seed" if study.common_seed else ""
    pairs = [
        ("command", study.command),
        ("created", moment(study.created)),
        ("directory", str(record.out.resolve())),
        ("searcher", f"{study.searcher}, M = {study.batch}, seed {study.seed}{one_seed}"),
        ("versions", _words(study.versions)),
        ("machine", _words(study.machine)),
    ]
    settings = more("Settings of the searcher", _json(study.settings))
    options = more("How the search is run", _json(study.options))
    space = more("The space", _json(json.loads(study.space)))
    words = "To repeat or question it."
    return section("provenance", "Provenance", words, facts(pairs, long=True), settings, options, space)


def _cells(row: TrialRow, tests: Sequence[str]) -> list[Markup]:
    rates = ", ".join(f"{key} {percent(rate)}" for key, rate in row.rates.items())
    state = "diverged" if row.diverged else row.state
    return [
        cell(str(row.trial), numeric=True),
        cell(figure(row.reward), order=row.reward, numeric=True),
        *(cell(figure(row.test.get(name)), order=row.test.get(name), numeric=True) for name in tests),
        cell(duration(row.seconds), order=row.seconds, numeric=True),
        cell(str(row.update), numeric=True),
        cell(str(row.attempts), numeric=True),
        element("td", element("span", state, class_=f"state {state}", title=row.error)),
        cell(rates or ("all off" if not row.policy.sites else ", ".join(row.policy.sites))),
    ]


def _failure(failure: Failure) -> Markup:
    title = f"Trial {failure.trial}, attempt {failure.attempt} ({failure.state}): {failure.error}"
    return more(title, element("pre", failure.tail or "No log was kept."))


def _words(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _json(value: object) -> Markup:
    return element("pre", json.dumps(value, indent=2))
