"""experiments/release.py: a directory of studies becomes the files of a release."""

import json
from pathlib import Path

import pytest
from pyarrow import parquet

import release
from autodropout.benchmark.landscapes import load
from autodropout.errors import DataError
from toy_landscape import studied

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("release")
    studied(out / "runs" / "random", "random", 300, 0, top=4)
    run(out, "first")
    return out


def run(out, place):
    return release.run(
        out / "runs",
        "pydoc-lm",
        packaged=out / place / "package",
        results=out / place / "results",
        regressors=("pairs", "ridge"),
        commit="abc",
    )


def test_all_files_are_written_and_agree(written):
    results = written / "first" / "results" / "pydoc-lm"
    names = {"README.md", "effects.json", "effects.md", "surrogate.json", "trials.parquet"}
    assert {path.name for path in results.iterdir()} == names
    benchmark = load(written / "first" / "package" / "pydoc-lm.jsonl")
    table = parquet.read_table(results / "trials.parquet").to_pydict()
    assert len(benchmark.trials) == len(table["reward"]) == 312
    assert table["seed"] == [trial.seed for trial in benchmark.trials]
    found = json.loads((results / "surrogate.json").read_text())
    assert found["regressors"][0]["regressor"] == benchmark.release.regressor
    assert found["regressors"][0]["overall"]["rho"] >= found["regressors"][1]["overall"]["rho"]
    assert benchmark.release.floor == release.task_named("pydoc-lm").floor
    assert (results / "README.md").read_text().startswith("# The landscape pydoc-lm\n")


def test_the_effects_are_those_of_the_task(written):
    results = written / "first" / "results" / "pydoc-lm"
    found = json.loads((results / "effects.json").read_text())
    residual = next(c for c in found["choices"] if (c["site"], c["name"]) == ("role:residual", "size"))
    assert {c["site"] for c in found["choices"][:3]} & {"role:softmax", "role:key", "role:value"}
    assert residual["values"][0]["effect"] == 0.0
    (chance,) = found["strength"]
    assert chance["n"] == found["n"]
    text = (results / "effects.md").read_text()
    assert f"{found['n']} policies by chance" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    values = sum(len(c["values"]) for c in found["choices"])
    assert len(rows) == 2 + values + 2 + 1
    assert "| off |" in text


@pytest.mark.slow  # reads the studies and fits the regressors once more
def test_the_same_studies_give_the_same_bytes(written):
    run(written, "again")
    for path in (written / "first").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (written / "again" / path.relative_to(written / "first")).read_bytes()


def test_too_small_a_landscape_is_refused(tmp_path):
    studied(tmp_path / "runs" / "random", "random", 5, 0)
    with pytest.raises(DataError, match=r"has [45] policies; to hold some out takes 10"):
        release.run(tmp_path / "runs", "ptb-small", packaged=tmp_path / "p", results=tmp_path / "r")
    assert not (tmp_path / "p").exists()


def test_a_released_landscape_is_the_packaged_one():
    for path in (ROOT / "results").glob("*/trials.parquet"):
        table = parquet.read_table(path).to_pydict()
        packaged = load(path.parent.name)
        assert table["seed"] == [trial.seed for trial in packaged.trials]
        assert table["reward"] == [None if t.diverged else t.result.reward for t in packaged.trials]
        assert path.stat().st_size < 2_000_000
