"""The ledger's file: its tables, and how it is created, opened, checked and written safely."""

import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from autodropout.engine.ledger_upgrade import OLDEST, shade, upgrade
from autodropout.errors import LedgerError

LEDGER_FILE = "study.db"
SCHEMA = 3

_APPLICATION = 0x41440001
_BUSY_SECONDS = 60.0
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "9p", "pvfs2")
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone")

_TABLES = """
CREATE TABLE study (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    space TEXT NOT NULL, task TEXT, searcher TEXT NOT NULL, settings TEXT NOT NULL,
    seed INTEGER NOT NULL, batch INTEGER NOT NULL, planned INTEGER NOT NULL, trials INTEGER NOT NULL,
    options TEXT NOT NULL, phase TEXT NOT NULL CHECK (phase IN ('search', 'confirm', 'done')),
    versions TEXT NOT NULL, machine TEXT NOT NULL, command TEXT NOT NULL, created REAL NOT NULL,
    halving TEXT, warm TEXT, common_seed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE updates (
    number INTEGER PRIMARY KEY,
    trials TEXT NOT NULL, figures TEXT NOT NULL, snapshot BLOB, seconds REAL NOT NULL, made REAL NOT NULL
);
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('search', 'confirm', 'compare')),
    tokens TEXT NOT NULL, log_prob REAL, seed INTEGER NOT NULL,
    updates_made INTEGER NOT NULL, draw INTEGER, place INTEGER NOT NULL, source INTEGER REFERENCES trials,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, faults INTEGER NOT NULL DEFAULT 0,
    reward REAL, floored INTEGER NOT NULL DEFAULT 0, result TEXT, cause TEXT, error TEXT,
    finish INTEGER UNIQUE, taught INTEGER REFERENCES updates,
    queued REAL NOT NULL, started REAL, ended REAL,
    budget REAL NOT NULL DEFAULT 1, carried REAL NOT NULL DEFAULT 0, weight REAL NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX dealt ON trials (updates_made, draw, place) WHERE kind = 'search';
CREATE UNIQUE INDEX promoted ON trials (source) WHERE kind = 'search' AND source IS NOT NULL;
CREATE INDEX unfinished ON trials (id) WHERE state IN ('queued', 'running');
CREATE INDEX untaught ON trials (finish) WHERE kind = 'search' AND taught IS NULL AND reward IS NOT NULL;
CREATE INDEX unsettled ON trials (id) WHERE floored = 1 AND reward IS NULL;
"""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises inside into a LedgerError that says what to do.

    Raises:
        LedgerError: SQLite raised.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(f"{path}: {_remedy(error)}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: commit at the end, roll back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk makes SQLite roll back by itself; a second ROLLBACK would hide the first error.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create_file(path: Path, fill: str, values: tuple[object, ...], snapshot: bytes, made: float) -> None:
    """Write a new ledger so that it appears under ``path`` complete or not at all.

    Args:
        path: File to create.
        fill: The statement that inserts the study's row.
        values: What it inserts.
        snapshot: The searcher's state before the first update.
        made: When it was created, in seconds since the epoch.

    Raises:
        LedgerError: The file cannot be written.
    """
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with explained(path), closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.executescript(f"PRAGMA synchronous = FULL; BEGIN; {_TABLES}")
        connection.execute(fill, values)
        connection.execute("INSERT INTO updates VALUES (0, '[]', '{}', ?, 0, ?)", (snapshot, made))
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    os.replace(draft, path)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open an existing ledger for its one writer, in WAL mode where the file system allows it.

    Raises:
        LedgerError: There is none, it is damaged, or its schema is another.
    """
    connection = _connect(path, "mode=rw")
    try:
        with explained(path):
            schema = _checked(connection, path)
            _check_pages(connection, path)
            if schema < SCHEMA:
                upgrade(connection, schema)
            connection.execute(f"PRAGMA journal_mode = {_journal(path)}")
            connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open an existing ledger for reading, beside a writer or after it.

    Raises:
        LedgerError: There is none, it is damaged, or its schema is another.
    """
    # A reader needs files beside a WAL-mode database; on read-only media there is no writer to heed.
    alone = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
    connection = _connect(path, "mode=ro&immutable=1" if alone else "mode=ro")
    try:
        with explained(path):
            if (schema := _checked(connection, path)) < SCHEMA:
                shade(connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def on_network(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Say whether a path lies on a network file system, as far as the system tells.

    Args:
        path: Existing file or directory.
        mounts: The system's table of mounts; where there is none the answer is False.
    """
    try:
        table = [line.split()[1:3] for line in mounts.read_text(encoding="utf8").splitlines()]
    except OSError:
        return False
    resolved = path.resolve()
    holding = [(len(place), kind) for place, kind in table if resolved.is_relative_to(_unescaped(place))]
    return bool(holding) and max(holding)[1] in _NETWORK + _NETWORK_FUSE


def _unescaped(place: str) -> str:
    return place.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    if not path.is_file():
        raise LedgerError(
            f"{path.parent} holds no study: there is no {path.name}; check the directory's name"
        )
    with explained(path):
        uri = f"{path.absolute().as_uri()}?{mode}"
        return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)


def _checked(connection: sqlite3.Connection, path: Path) -> int:
    """Return the ledger's schema, which is one that we can read."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise LedgerError(
            f"{path} is no ledger of autodropout, or was emptied; "
            "restore it from a copy or search in another directory"
        )
    if not OLDEST <= schema <= SCHEMA:
        remedy = "upgrade autodropout" if schema > SCHEMA else "open it with the version that wrote it"
        raise LedgerError(
            f"{path} has schema {schema}, this autodropout reads {OLDEST} to {SCHEMA}; {remedy}"
        )
    return int(schema)


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise LedgerError(_DAMAGED.format(path=path, detail=" ".join(str(verdict).split())))


def _journal(path: Path) -> str:
    if not on_network(path.parent):
        return "WAL"
    warnings.warn(
        f"{path} lies on a network file system: the ledger uses a slower journal there, and is only as "
        "safe as that system's locks; prefer a local directory",
        stacklevel=2,
    )
    return "DELETE"


_DAMAGED = "{path}: the ledger is damaged ({detail}); restore it from a copy or search in another directory"


def _remedy(error: sqlite3.Error) -> str:
    # Only errors that the library itself raised carry a code; misuse of the module does not.
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    match code:
        case sqlite3.SQLITE_FULL:
            return "the disk is full; nothing is lost: free some space and resume"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return f"the ledger is damaged ({error}); restore it from a copy or search in another directory"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another program holds the ledger; close it and resume"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"the ledger cannot be written or opened ({error}); check the directory's permissions"
        case _:
            return f"the ledger cannot be used ({error}); check the disk and resume"
