"""Older ledgers: a writer brings them up to date, a reader sees them as if they were."""

import sqlite3

OLDEST = 1
"""Schema of the oldest ledgers that can be opened."""

_STUDY = {"halving": "TEXT", "warm": "TEXT"}
_TRIALS = {
    "budget": "REAL NOT NULL DEFAULT 1",
    "carried": "REAL NOT NULL DEFAULT 0",
    "weight": "REAL NOT NULL DEFAULT 1",
}
_PROMOTED = "CREATE UNIQUE INDEX promoted ON trials (source) WHERE kind = 'search' AND source IS NOT NULL"


def upgrade(connection: sqlite3.Connection) -> None:
    """Add what schema 2 has and schema 1 has not: budgets, halving, warm starts. In one transaction.

    Args:
        connection: To a ledger of schema 1, open for writing, outside a transaction.
    """
    added = [f"ALTER TABLE study ADD COLUMN {name} {kind}" for name, kind in _STUDY.items()]
    added += [f"ALTER TABLE trials ADD COLUMN {name} {kind}" for name, kind in _TRIALS.items()]
    connection.executescript(
        "; ".join(["BEGIN IMMEDIATE", *added, _PROMOTED, "PRAGMA user_version = 2; COMMIT;"])
    )


def shade(connection: sqlite3.Connection) -> None:
    """Put views of schema 2 over the tables of schema 1; the file stays as it is.

    Args:
        connection: To a ledger of schema 1, which may be read-only.
    """
    study = ", ".join(f"NULL AS {name}" for name in _STUDY)
    trials = ", ".join(f"{kind.split()[-1]}.0 AS {name}" for name, kind in _TRIALS.items())
    connection.execute(f"CREATE TEMP VIEW study AS SELECT *, {study} FROM main.study")
    connection.execute(f"CREATE TEMP VIEW trials AS SELECT *, {trials} FROM main.trials")
