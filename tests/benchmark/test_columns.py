import builtins
import re
import sys
from types import SimpleNamespace

import pytest
from pyarrow import parquet

from autodropout.benchmark.columns import COLUMNS, columns, write_parquet
from autodropout.errors import UsageError
from autodropout.policy import Policy
from toy_landscape import SPACE


def test_every_row_is_its_trial(release):
    table = columns(release)
    assert {len(column) for column in table.values()} == {len(release.trials)}
    for place, trial in enumerate(release.trials):
        row = {name: column[place] for name, column in table.items()}
        assert Policy.from_json(row["policy"]) == trial.policy
        assert tuple(map(int, row["tokens"].split())) == trial.tokens
        assert (row["reward"] is None) == trial.diverged
        assert row["test.perplexity"] == trial.result.test.get("perplexity")
        for site in SPACE.site_choices:
            pattern = trial.policy.sites.get(site)
            assert row[f"drop_rate.{site}"] == (0.0 if pattern is None else pattern.drop_rate())
            assert row[f"{site}.size"] == (None if pattern is None else str(pattern.size))


def test_every_column_is_described(release):
    def described(name):
        return any(re.fullmatch(re.sub("NAME|SITE|CHOICE", ".+", known), name) for known in COLUMNS)

    assert [name for name in columns(release) if not described(name)] == []


def test_parquet_holds_the_columns_and_the_same_bytes_every_time(release, tmp_path):
    write_parquet(release, tmp_path / "a.parquet")
    write_parquet(release, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert parquet.read_table(tmp_path / "a.parquet").to_pydict() == {
        k: list(v) for k, v in columns(release).items()
    }


@pytest.mark.parametrize("missing", ["pyarrow", "pandas"])
def test_a_missing_library_is_named(benchmark, tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError, match=f"needs {missing}, which is not installed"):
        benchmark.to_frame() if missing == "pandas" else write_parquet(benchmark.release, tmp_path / "x")


def test_the_table_has_the_same_columns(benchmark, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))
    assert benchmark.to_frame() == columns(benchmark.release)
