"""Reading a ledger: any number of readers, also while a search writes it."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from autodropout.engine.base import Scored
from autodropout.engine.ledger_records import (
    StudyRecord,
    Tally,
    Timing,
    Unfinished,
    Update,
    figures_from_plain,
)
from autodropout.engine.ledger_rows import Decode, scored_of, study_of, trial_of
from autodropout.engine.ledger_schema import LEDGER_FILE, explained, open_reader
from autodropout.errors import LedgerError
from autodropout.result import Trial, TrialKind

_OWN = "json_extract(result, '$.reward')"
"""The reward that a trial returned itself; what is taught may differ (see ``rungs.py``)."""


class LedgerReader:
    """Questions that a ledger answers; each answer is consistent in itself.

    Args:
        connection: Open connection to the ledger.
        path: Its file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, out: Path) -> Self:
        """Open the ledger in this directory, whether or not a search is writing it.

        Raises:
            LedgerError: There is none, it is damaged, or its schema is another.
        """
        return cls(open_reader(out / LEDGER_FILE), out / LEDGER_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._connection.close()

    def study(self) -> StudyRecord:
        """Return what the study is."""
        row = self._row("SELECT * FROM study")
        if row is None:
            raise LedgerError(f"{self._path}: the ledger is damaged (it describes no study); restore a copy")
        return study_of(row)

    def trials(self, decode: Decode) -> tuple[Trial, ...]:
        """Return all trials of all kinds, by number.

        Args:
            decode: Turns tokens into a policy.
        """
        rows = self._rows("SELECT * FROM trials ORDER BY id")
        return tuple(trial_of(row, decode) for row in rows)

    def trial(self, number: int, decode: Decode) -> Trial:
        """Return one trial.

        Raises:
            LedgerError: There is no such trial.
        """
        row = self._row("SELECT * FROM trials WHERE id = ?", number)
        if row is None:
            raise LedgerError(f"{self._path} has no trial {number}")
        return trial_of(row, decode)

    def timings(self) -> tuple[Timing, ...]:
        """Return when things happened to each trial, by number."""
        columns = "id AS trial, queued, started, ended, finish, taught"
        return tuple(Timing(**row) for row in self._rows(f"SELECT {columns} FROM trials ORDER BY id"))

    def updates(self) -> tuple[Update, ...]:
        """Return all updates, in order."""
        columns = "number, trials, figures, seconds, made"
        return tuple(
            Update(
                number=row["number"],
                trials=tuple(json.loads(row["trials"])),
                figures=figures_from_plain(json.loads(row["figures"])),
                seconds=row["seconds"],
                made=row["made"],
            )
            for row in self._rows(f"SELECT {columns} FROM updates WHERE number > 0 ORDER BY number")
        )

    def lessons(self, after: int) -> Iterator[tuple[Scored, ...]]:
        """Yield what each update after the given one was taught, in order."""
        for row in self._rows("SELECT trials FROM updates WHERE number > ? ORDER BY number", after):
            numbers = json.loads(row["trials"])
            marks = ",".join("?" * len(numbers))
            taught = self._rows(f"SELECT * FROM trials WHERE id IN ({marks})", *numbers)
            by_number = {row["id"]: scored_of(row) for row in taught}
            yield tuple(by_number[number] for number in numbers)

    def last_update(self) -> int:
        """Return the number of updates made."""
        return int(self._one("SELECT max(number) FROM updates"))

    def snapshot(self, *, first: bool = False) -> tuple[int, bytes]:
        """Return the newest kept state of the searcher, or the first, and the number of its update."""
        order = "ASC" if first else "DESC"
        row = self._row(
            f"SELECT number, snapshot FROM updates WHERE snapshot IS NOT NULL ORDER BY number {order} LIMIT 1"
        )
        if row is None:
            raise LedgerError(f"{self._path}: the ledger is damaged (no state is kept); restore a copy")
        return row["number"], row["snapshot"]

    def next_id(self) -> int:
        """Return the number of the next trial."""
        return int(self._one("SELECT coalesce(max(id), 0) + 1 FROM trials"))

    def next_finish(self) -> int:
        """Return the next position in the order of endings."""
        return int(self._one("SELECT coalesce(max(finish), 0) + 1 FROM trials"))

    def unfinished(self, kind: TrialKind) -> tuple[Unfinished, ...]:
        """Return the queued and running trials of a kind, by number."""
        columns = "id, kind, tokens, seed, attempt, lost, faults, log_prob, source, budget, carried, weight"
        rows = self._rows(
            f"SELECT {columns} FROM trials WHERE state IN ('queued', 'running') AND kind = ? ORDER BY id",
            kind,
        )
        return tuple(Unfinished(**row | {"tokens": tuple(json.loads(row["tokens"]))}) for row in rows)

    def untaught(self, limit: int) -> tuple[Scored, ...]:
        """Return the first finished search trials that no update has been taught, in order of finish.

        Those that raised, with none after them that ended otherwise, are not among them: the next may show
        that not the policies but the evaluation is to blame.
        """
        rows = self._rows(
            "SELECT * FROM trials WHERE kind = 'search' AND taught IS NULL AND reward IS NOT NULL "
            "AND finish <= ? ORDER BY finish LIMIT ?",
            self._last_not_raised("search"),
            limit,
        )
        return tuple(scored_of(row) for row in rows)

    def rewarded(self) -> tuple[Scored, ...]:
        """Return all search trials with something to teach, taught or not, in order of finish."""
        rows = self._rows(
            "SELECT * FROM trials WHERE kind = 'search' AND reward IS NOT NULL AND finish > 0 ORDER BY finish"
        )
        return tuple(scored_of(row) for row in rows)

    def raised_in_a_row(self, kind: TrialKind) -> tuple[int, ...]:
        """Return the trials of a kind that raised, with none after them that ended otherwise."""
        rows = self._rows(
            "SELECT id FROM trials WHERE kind = ? AND finish > ? ORDER BY finish",
            kind,
            self._last_not_raised(kind),
        )
        return tuple(row["id"] for row in rows)

    def dealt(self, update: int) -> tuple[int, int]:
        """Return (draw, place) of the next proposal to deal out since this update."""
        row = self._row(
            "SELECT draw, place FROM trials WHERE kind = 'search' AND updates_made = ? AND draw IS NOT NULL "
            "ORDER BY draw DESC, place DESC LIMIT 1",
            update,
        )
        return (0, 0) if row is None else (row["draw"], row["place"] + 1)

    def extremes(self) -> tuple[float | None, float | None]:
        """Return the worst finite reward of a search trial so far, and the best of a full training."""
        row = self._row(
            f"SELECT min({_OWN}), max({_OWN}) FILTER (WHERE budget = 1) FROM trials "
            "WHERE kind = 'search' AND state = 'done' AND floored = 0"
        )
        assert row is not None
        worst, best = row.values()
        return worst, best

    def tally(self, kind: TrialKind) -> Tally:
        """Count the trials of a kind by state."""
        counts = {
            (row["state"], row["replaced"]): row["number"]
            for row in self._rows(
                "SELECT state, cause IS 'lost' AND state = 'failed' AS replaced, count(*) AS number "
                "FROM trials WHERE kind = ? AND id NOT IN "
                "(SELECT source FROM trials WHERE kind = 'search' AND source IS NOT NULL) GROUP BY 1, 2",
                kind,
            )
        }
        return Tally(
            queued=counts.get(("queued", 0), 0),
            running=counts.get(("running", 0), 0),
            done=counts.get(("done", 0), 0),
            failed=counts.get(("failed", 0), 0) + counts.get(("failed", 1), 0),
            replaced=counts.get(("failed", 1), 0),
        )

    def ranked(self) -> Iterator[tuple[int, tuple[int, ...], float]]:
        """Yield (number, tokens, own reward) of search trials that returned: largest budget, then best."""
        rows = self._rows(
            f"SELECT id, tokens, {_OWN} AS reward FROM trials WHERE kind = 'search' AND state = 'done' "
            "AND floored = 0 ORDER BY budget DESC, 3 DESC, id"
        )
        for row in rows:
            yield row["id"], tuple(json.loads(row["tokens"])), row["reward"]

    def rungs(self) -> Iterator[tuple[int, int | None, float, float, bool]]:
        """Yield (number, source, budget, own reward, promoted) of search trials, in the order of return."""
        rows = self._rows(
            f"SELECT id, source, budget, {_OWN} AS own, reward IS NULL AS promoted FROM trials "
            "WHERE kind = 'search' AND state = 'done' AND floored = 0 ORDER BY finish"
        )
        for row in rows:
            yield row["id"], row["source"], row["budget"], row["own"], bool(row["promoted"])

    def confirmations(self) -> Iterator[tuple[int, tuple[int, ...], int, float | None, bool]]:
        """Yield (source, tokens, place, reward, ended) of the confirming trials, by number."""
        rows = self._rows(
            "SELECT source, tokens, place, reward, state IN ('done', 'failed') AS ended "
            "FROM trials WHERE kind = 'confirm' ORDER BY id"
        )
        for row in rows:
            yield (
                row["source"],
                tuple(json.loads(row["tokens"])),
                row["place"],
                row["reward"],
                bool(row["ended"]),
            )

    def _last_not_raised(self, kind: TrialKind) -> int:
        """Return the position of the last ending of a trial of this kind that was no exception."""
        row = self._row(
            "SELECT finish FROM trials WHERE kind = ? AND finish > 0 AND cause IS NOT 'raised' "
            "ORDER BY finish DESC LIMIT 1",
            kind,
        )
        return 0 if row is None else row["finish"]

    def _rows(self, query: str, *values: object) -> Sequence[dict[str, Any]]:
        with self._explained():
            cursor = self._connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _row(self, query: str, *values: object) -> dict[str, Any] | None:
        rows = self._rows(query, *values)
        return rows[0] if rows else None

    def _one(self, query: str) -> Any:
        with self._explained():
            return self._connection.execute(query).fetchone()[0]

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._path)
