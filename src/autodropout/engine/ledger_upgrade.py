"""Older ledgers: a writer brings them up to date, a reader sees them as if they were."""

import sqlite3
from collections.abc import Mapping

OLDEST = 1
"""Schema of the oldest ledgers that can be opened."""

Columns = Mapping[str, str]
"""What a schema added to a table: names and how they are declared, all of them with a default."""

_STUDY: Mapping[int, Columns] = {
    2: {"halving": "TEXT DEFAULT NULL", "warm": "TEXT DEFAULT NULL"},
    3: {"common_seed": "INTEGER NOT NULL DEFAULT 0"},
}
_TRIALS: Mapping[int, Columns] = {
    2: {
        "budget": "REAL NOT NULL DEFAULT 1.0",
        "carried": "REAL NOT NULL DEFAULT 0.0",
        "weight": "REAL NOT NULL DEFAULT 1.0",
    },
    3: {},
}
_INDEXES = {
    2: "CREATE UNIQUE INDEX promoted ON trials (source) WHERE kind = 'search' AND source IS NOT NULL",
}


def upgrade(connection: sqlite3.Connection, schema: int) -> None:
    """Add what later schemas have: budgets, halving, warm starts; common seeds. In one transaction.

    Args:
        connection: To a ledger, open for writing, outside a transaction.
        schema: What it has.
    """
    added = []
    for table, columns in (("study", _STUDY), ("trials", _TRIALS)):
        added += [f"ALTER TABLE {table} ADD COLUMN {n} {kind}" for n, kind in _since(columns, schema).items()]
    added += [index for number, index in _INDEXES.items() if number > schema]
    connection.executescript(
        "; ".join(["BEGIN IMMEDIATE", *added, f"PRAGMA user_version = {max(_STUDY)}; COMMIT;"])
    )


def shade(connection: sqlite3.Connection, schema: int) -> None:
    """Put views of the newest schema over the tables of an older one; the file stays as it is.

    Args:
        connection: To a ledger, which may be read-only.
        schema: What it has.
    """
    for table, columns in (("study", _STUDY), ("trials", _TRIALS)):
        missing = _since(columns, schema)
        added = "".join(f", {kind.split()[-1]} AS {name}" for name, kind in missing.items())
        connection.execute(f"CREATE TEMP VIEW {table} AS SELECT *{added} FROM main.{table}")


def _since(columns: Mapping[int, Columns], schema: int) -> Columns:
    return {
        name: kind for number, added in columns.items() if number > schema for name, kind in added.items()
    }
