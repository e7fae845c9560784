"""A study as it stands, read once: what every part of a report is made from."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autodropout.comparison import Comparison, read_comparison
from autodropout.comparison.kept import COMPARISON
from autodropout.engine.ledger_records import StudyRecord, Timing, Update
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.places import LOGS, log_name
from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.result import Confirmed, Trial
from autodropout.space import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything that a report says of a study.

    Attributes:
        out: Directory of the study.
        study: What the study is, and its phase.
        space: What it searches.
        trials: All trials of all kinds, by number.
        timings: When things happened to a trial, by its number.
        updates: The searcher's updates, in order.
        confirmed: Policies whose confirmation is complete, highest mean first.
        best: The best policy so far; None before any trial has returned a finite reward.
        comparison: What the newest comparison in a subdirectory ``compare*`` found, if there is one.
        read: When this was read, in seconds since the epoch.
    """

    out: Path
    study: StudyRecord
    space: Space
    trials: tuple[Trial, ...]
    timings: Mapping[int, Timing]
    updates: tuple[Update, ...]
    confirmed: tuple[Confirmed, ...]
    best: Confirmed | None
    comparison: Comparison | None
    read: float

    @property
    def ended(self) -> tuple[Trial, ...]:
        """Search trials that ended, in the order in which they did; full trainings as in ``search``."""
        places = ((self.timings[trial.id].finish, trial) for trial in self.search)
        ended = [(place, trial) for place, trial in places if place is not None]
        return tuple(trial for _, trial in sorted(ended, key=lambda pair: pair[0]))

    @property
    def search(self) -> tuple[Trial, ...]:
        """All search trials that are full trainings, by number: rewards of shorter ones do not compare."""
        return tuple(trial for trial in self.trials if trial.kind == "search" and trial.budget == 1.0)


def read_record(out: str | os.PathLike[str]) -> Record:
    """Read the study in a directory, whether or not a search is running there.

    Raises:
        LedgerError: There is no study, or its ledger is damaged or of another schema.
        UsageError: The directory holds a comparison.
    """
    study = Study(out)
    if study.record.searcher == COMPARISON:
        raise UsageError(f"{out} holds a comparison, not a search; name the directory of a search")
    # Timings and updates are read before the trials: a search that goes on in between only adds to them.
    timings = {timing.trial: timing for timing in study.timings}
    updates = study.updates
    return Record(
        out=Path(out),
        study=study.record,
        space=study.space,
        trials=tuple(trial for trial in study.trials if trial.id in timings),
        timings=timings,
        updates=updates,
        confirmed=study.confirmed,
        best=study.best,
        comparison=_comparison(Path(out)),
        read=time.time(),
    )


def check_not_empty(record: Record) -> None:
    """Refuse a study that has nothing to show yet.

    Raises:
        UsageError: The ledger holds no trial that has ended.
    """
    if not record.ended:
        waiting = len(record.search)
        raise UsageError(
            f"{record.out}: the ledger is empty: none of its {waiting} trials has ended yet; "
            "let the search run (autodropout resume) and try again, or follow it with --follow"
        )


def reward_of(trial: Trial) -> float | None:
    """Return the finite reward that a trial returned itself; None if it diverged, failed or runs."""
    if trial.result is None or not math.isfinite(trial.result.reward):
        return None
    return trial.result.reward


def log_file(out: Path, trial: int, attempt: int) -> Path:
    """Return the file that holds what an attempt printed, if it was kept."""
    return out / LOGS / log_name(trial, attempt)


def _comparison(out: Path) -> Comparison | None:
    beside = [Study(file.parent) for file in out.glob(f"{COMPARISON}*/{LEDGER_FILE}")]
    comparisons = [study for study in beside if study.record.searcher == COMPARISON]
    if not comparisons:
        return None
    found = read_comparison(max(comparisons, key=lambda study: study.record.created).out)
    return found if any(row.summary is not None for row in found.rows) else None
