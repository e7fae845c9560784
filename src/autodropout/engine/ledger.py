"""The ledger: one SQLite file with every trial and every update, written by one search at a time."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock

from autodropout.engine.events import PhaseName
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import (
    Ending,
    NewTrial,
    Promotion,
    StudyRecord,
    Unfinished,
    figures_to_plain,
    result_to_json,
)
from autodropout.engine.ledger_schema import (
    LEDGER_FILE,
    create_file,
    explained,
    open_writer,
    transaction,
)
from autodropout.engine.lock import locked
from autodropout.errors import LedgerError

SNAPSHOT_KEPT_EVERY = 256
"""Besides the newest state of the searcher, those of every so many updates are kept."""

_FLOOR = "UPDATE trials SET reward = ? WHERE kind = 'search' AND floored = 1 AND reward IS NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """One update of the searcher, to be recorded.

    Attributes:
        number: Its number, from 1.
        trials: Numbers of the trials it was taught, in order.
        figures: What the searcher says about it.
        snapshot: The searcher's state after it.
        seconds: How long it took.
    """

    number: int
    trials: Sequence[int]
    figures: Mapping[str, float]
    snapshot: bytes
    seconds: float


class Ledger:
    """The one writer of a ledger; every method is one durable transaction.

    The lock belongs to the operating system: it goes with the process, however that ends. Who takes it
    withdraws what an earlier loop was asked to do (pause, stop): beginning means going on.

    Attributes:
        out: Directory of the study.
        read: Questions that the ledger answers.
        study: What the study is.
    """

    def __init__(self, out: Path, lock: FileLock) -> None:
        self.out = out
        self._path = out / LEDGER_FILE
        self._lock = lock
        self._connection = open_writer(self._path)
        self.read = LedgerReader(self._connection, self._path)
        self.study = self.read.study()
        self._next_finish = self.read.next_finish()
        self._requeue_interrupted()

    @classmethod
    def create(cls, out: Path, study: StudyRecord, snapshot: bytes) -> Self:
        """Create the ledger of a new study and open it.

        Args:
            out: Directory; made if it is missing.
            study: What the study is.
            snapshot: The searcher's state before the first update.

        Raises:
            LedgerError: There is one already, another search holds it, or it cannot be written.
        """
        lock = locked(out)
        try:
            if (out / LEDGER_FILE).exists():
                raise LedgerError(f"{out} already holds a study; resume it or name another directory")
            row = _row(study)
            values = tuple(json.dumps(v) if isinstance(v, Mapping) else v for v in row.values())
            fill = f"INSERT INTO study (one, {', '.join(row)}) VALUES (1{', ?' * len(row)})"
            create_file(out / LEDGER_FILE, fill, values, snapshot, study.created)
            return cls(out, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, out: Path) -> Self:
        """Open the ledger of an existing study to go on with it; what was running is queued again.

        Raises:
            LedgerError: There is none, another search holds it, it is damaged, or of another schema.
        """
        if not (out / LEDGER_FILE).is_file():
            raise LedgerError(f"{out} holds no study: there is no {LEDGER_FILE}; check the directory's name")
        lock = locked(out)
        try:
            return cls(out, lock)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and free the lock; may be called twice."""
        self._connection.close()
        self._lock.release()

    def enqueue(self, trials: Sequence[NewTrial]) -> None:
        """Record new trials, all of them or none."""
        now = time.time()
        rows = [_row(trial) | {"tokens": json.dumps(trial.tokens), "queued": now} for trial in trials]
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO trials (id, kind, tokens, log_prob, seed, updates_made, draw, place, source, "
                "budget, state, queued) VALUES (:id, :kind, :tokens, :log_prob, :seed, :updates_made, :draw, "
                ":place, :source, :budget, 'queued', :queued)",
                rows,
            )

    def start(self, trial: int, attempt: int) -> None:
        """Record that this attempt at a trial begins; from now on earlier attempts are void."""
        with self._transaction():
            self._connection.execute(
                "UPDATE trials SET state = 'running', attempt = ?, started = ?, ended = NULL WHERE id = ?",
                (attempt, time.time(), trial),
            )

    def requeue(self, trial: Unfinished, error: str) -> bool:
        """Record that an attempt went wrong and that the trial is to be run again.

        Args:
            trial: The trial with its new counts; its attempt is the one that went wrong.
            error: What went wrong, in one line.

        Returns:
            Whether that attempt was the current one; if not, nothing is recorded.
        """
        with self._transaction():
            cursor = self._connection.execute(
                "UPDATE trials SET state = 'queued', lost = ?, faults = ?, error = ? "
                "WHERE id = ? AND attempt = ? AND state = 'running'",
                (trial.lost, trial.faults, error, trial.id, trial.attempt),
            )
        return cursor.rowcount == 1

    def finish(self, ending: Ending) -> bool:
        """Record that a trial ended for good, and the trial in which it goes on, if it does.

        The first finite reward of a search trial also becomes the floor of those that wait for one.

        Returns:
            Whether the ending's attempt was the current one; if not, nothing is recorded.
        """
        values = _row(ending) | {
            "promotion": None,
            "result": None if ending.result is None else result_to_json(ending.result),
            "finish": self._next_finish,
            "ended": time.time() if ending.ended is None else ending.ended,
        }
        with self._transaction():
            cursor = self._connection.execute(
                "UPDATE trials SET state = :state, reward = :reward, floored = :floored, result = :result, "
                "cause = :cause, error = :error, finish = :finish, ended = :ended, "
                "faults = faults + (:cause IS 'raised' OR :cause IS 'timeout'), "
                "lost = lost + (:cause IS 'lost') "
                "WHERE id = :trial AND attempt = :attempt AND state = 'running'",
                values,
            )
            if cursor.rowcount == 1 and ending.promotion is not None:
                self._promote(ending.trial, ending.promotion)
            if cursor.rowcount == 1 and ending.reward is not None:
                self._connection.execute(
                    f"{_FLOOR} AND EXISTS (SELECT 1 FROM trials WHERE id = ? AND kind = 'search')",
                    (ending.reward, ending.trial),
                )
        self._next_finish += cursor.rowcount
        return cursor.rowcount == 1

    def give_floor(self, floor: float) -> None:
        """Give this floor to the search trials that are still waiting for one."""
        with self._transaction():
            self._connection.execute(_FLOOR, (floor,))

    def forgive(self, trials: Sequence[int]) -> None:
        """Queue running and failed trials as if they had never failed, but for those already taught."""
        with self._transaction():
            self._connection.executemany(
                "UPDATE trials SET state = 'queued', faults = 0, reward = NULL, floored = 0, cause = NULL, "
                "finish = NULL, ended = NULL "
                "WHERE id = ? AND state IN ('running', 'failed') AND taught IS NULL",
                [(trial,) for trial in trials],
            )

    def teach(self, lesson: Lesson) -> None:
        """Record an update, the searcher's state after it, and that its trials are used up."""
        number = lesson.number
        with self._transaction():
            self._connection.execute(
                "INSERT INTO updates VALUES (?, ?, ?, ?, ?, ?)",
                (
                    number,
                    json.dumps(list(lesson.trials)),
                    json.dumps(figures_to_plain(lesson.figures), allow_nan=False),
                    lesson.snapshot,
                    lesson.seconds,
                    time.time(),
                ),
            )
            self._connection.execute(
                "UPDATE updates SET snapshot = NULL WHERE number = ? AND number % ? != 0",
                (number - 1, SNAPSHOT_KEPT_EVERY),
            )
            marked = self._connection.executemany(
                "UPDATE trials SET taught = ? WHERE id = ? AND taught IS NULL AND reward IS NOT NULL",
                [(number, trial) for trial in lesson.trials],
            )
            if marked.rowcount != len(lesson.trials):
                raise LedgerError(
                    f"{self._path}: update {number} would teach a trial twice; nothing is recorded"
                )

    def plan(self, trials: int, options: Mapping[str, Any]) -> None:
        """Record how many search trials are asked for now, and how the search is run from now on."""
        with self._transaction():
            self._connection.execute(
                "UPDATE study SET trials = ?, options = ?", (trials, json.dumps(dict(options)))
            )
        self.study = replace(self.study, trials=trials, options=dict(options))

    def enter(self, phase: PhaseName) -> None:
        """Record that the study is in this phase now."""
        with self._transaction():
            self._connection.execute("UPDATE study SET phase = ?", (phase,))
        self.study = replace(self.study, phase=phase)

    def _promote(self, trial: int, promotion: Promotion) -> None:
        self._connection.execute(
            "INSERT INTO trials (id, kind, tokens, log_prob, seed, updates_made, place, source, budget, "
            "carried, weight, state, queued) SELECT :id, kind, tokens, log_prob, seed, updates_made, place, "
            "id, :budget, :carried, :weight, 'queued', :queued FROM trials WHERE id = :trial",
            asdict(promotion) | {"trial": trial, "queued": time.time()},
        )

    def _requeue_interrupted(self) -> None:
        with self._transaction():
            self._connection.execute("UPDATE trials SET state = 'queued' WHERE state = 'running'")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self._path), transaction(self._connection):
            yield


def _row(record: StudyRecord | NewTrial | Ending) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}
