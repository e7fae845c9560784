"""What older schemas wrote can be read, watched and gone on with."""

import sqlite3
from contextlib import closing

import pytest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.token_space import TokenSpace

SPACE = TokenSpace(sites=("query", "ffn"))

LACKING = {
    1: {"study": ("halving", "warm", "common_seed"), "trials": ("budget", "carried", "weight")},
    2: {"study": ("common_seed",)},
}
"""Columns of today that a schema had not, by table."""


def find(out, trials):
    return search(
        lambda policy, seed: len(policy.sites) + seed % 97 / 97,
        SPACE,
        trials=trials,
        searcher="random",
        out=out,
        executor="inline",
        confirm=Confirmation(top=0),
    )


@pytest.fixture(params=LACKING)
def aged(request, tmp_path):
    """A study whose ledger an earlier version wrote, and its trials."""
    trials = find(tmp_path, 8).trials
    with closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        if request.param < 2:
            connection.execute("DROP INDEX promoted")
        for table, columns in LACKING[request.param].items():
            for column in columns:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute(f"PRAGMA user_version = {request.param}")
    return tmp_path, trials


def test_are_read_as_they_are(aged):
    out, trials = aged
    before = (out / "study.db").read_bytes()
    study = Study(out)
    assert study.trials == trials
    assert study.record.halving is None
    assert study.record.warm is None
    assert study.record.common_seed is False
    assert study.best is not None
    assert study.tally().done == 8
    assert (out / "study.db").read_bytes() == before


def test_are_gone_on_with(aged):
    out, trials = aged
    study = find(out, 12)
    assert study.trials[:8] == trials
    assert study.tally().done == 12
    assert {trial.budget for trial in study.trials} == {1.0}
    assert study.record.halving is None
    assert study.record.common_seed is False


def test_are_brought_up_to_date_in_every_table_and_index(aged, tmp_path_factory):
    out, _ = aged
    fresh = tmp_path_factory.mktemp("fresh")
    find(fresh, 1)
    find(out, 9)
    assert schema(out) == schema(fresh)


def default(text):
    """A column's default; 1 and 1.0 are the same, as are none and NULL."""
    return None if text in (None, "NULL") else float(text)


def schema(out):
    """What the ledger's tables have: columns with their defaults, indexes, the version."""
    with closing(sqlite3.connect(out / "study.db")) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        columns = {
            table: {(*row[1:4], default(row[4])) for row in connection.execute(f"PRAGMA table_info({table})")}
            for table in ("study", "trials", "updates")
        }
        indexes = {
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")
        }
    return version, columns, indexes
