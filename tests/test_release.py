"""experiments/release.py: a directory of studies becomes the files of a release."""

import json
import sqlite3
from pathlib import Path

import pytest
from pyarrow import parquet

import release
from autodropout.benchmark.columns import MAP_UNITS
from autodropout.benchmark.landscapes import load
from autodropout.benchmark.main_effects import MainEffect, ValueEffect
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.racing import race
from autodropout.benchmark.variants import Variant
from autodropout.comparison import compare
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.errors import DataError, UsageError
from toy_landscape import MAPS, evaluate, studied

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("release")
    studied(out / "runs" / "random", "random", 300, 0, top=4)
    run(out, "first")
    return out


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    out = tmp_path_factory.mktemp("maps")
    for seed, (name, trials) in enumerate({"random": 150, "random-biased": 40, "reinforce": 24}.items()):
        studied(out / "runs" / name, name, trials, seed, task="mnist-small", top=4, maps=True)
    run(out, "first", "mnist-small")
    return out / "first"


def places(out):
    return release.Places(packaged=out / "package", results=out / "results")


def run(out, place, name="pydoc-lm"):
    return release.run(
        out / "runs",
        name,
        places=places(out / place),
        regressors=("pairs", "ridge"),
        commit="abc",
        partial=True,
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


def test_a_landscape_over_feature_maps_is_released_and_loaded(maps):
    benchmark = load(maps / "package" / "mnist-small.jsonl")
    assert benchmark.space == MAPS
    assert benchmark.release.floor == release.task_named("mnist-small").floor
    table = parquet.read_table(maps / "results" / "mnist-small" / "trials.parquet").to_pydict()
    for place, trial in enumerate(benchmark.trials):
        pattern = trial.policy.sites.get("group1.0.bn2")
        assert table["group1.0.bn2.size"][place] == (None if pattern is None else str(pattern.height))
        assert table["group1.0.bn2.residual"][place] == (None if pattern is None else str(pattern.residual))
        rate = 0.0 if pattern is None else pattern.drop_rate(8, 8)
        assert table["drop_rate.group1.0.bn2"][place] == rate
    found = json.loads((maps / "results" / "mnist-small" / "surrogate.json").read_text())
    assert set(found["by_source"]) == {"random", "random-biased", "reinforce"}
    assert found["regressors"][0]["overall"]["rho"] > 0.7


def test_the_card_of_a_landscape_over_feature_maps_says_what_its_values_are_measured_in(maps, written):
    card = (maps / "results" / "mnist-small" / "README.md").read_text()
    assert MAP_UNITS in card
    assert "MNIST's images are no part of it" in card
    assert "- command: `python experiments/landscape.py --task mnist-small`" in card
    assert MAP_UNITS not in (written / "first" / "results" / "pydoc-lm" / "README.md").read_text()


def test_the_effects_of_choices_over_feature_maps(maps):
    results = maps / "results" / "mnist-small"
    found = json.loads((results / "effects.json").read_text())
    choices = {(c["site"], c["name"]): c for c in found["choices"]}
    assert ("bn", "residual") not in choices  # it has one value: there is no shortcut
    assert choices["group1.0.bn2", "residual"]["values"][1]["high"] < 0
    assert choices["bn", "share_c"]["values"][1]["high"] < 0
    text = (results / "effects.md").read_text()
    assert MAP_UNITS in text
    assert text.count("| off |") == 2


def test_searches_of_a_landscape_over_feature_maps_are_simulated(maps):
    benchmark = load(maps / "package" / "mnist-small.jsonl")
    plan = Plan(variants=[Variant(name="reinforce", searcher="reinforce")], budgets=(16,), repetitions=2)
    races = race(benchmark, plan, workers=1)
    assert races["reinforce"][16].ended.shape == (2, 1)


def test_off_is_a_value_of_a_height_and_of_no_other_number():
    values = [ValueEffect(value=v, n=1, effect=0.1, low=0.0, high=0.2, share=0.5, top=0.5) for v in (0, 2)]
    effects = [
        MainEffect(site="a", name=name, explained=0.1, p=0.5, values=tuple(values))
        for name in ("height", "shear_x")
    ]
    text = release.effects_table(effects)
    assert (text.count("| off |"), text.count("| 0 |"), text.count("| 2 |")) == (1, 1, 2)


@pytest.mark.slow  # reads the studies and fits the regressors once more
def test_the_same_studies_give_the_same_bytes(written):
    run(written, "again")
    for path in (written / "first").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (written / "again" / path.relative_to(written / "first")).read_bytes()


def test_too_small_a_landscape_is_refused(tmp_path):
    studied(tmp_path / "runs" / "random", "random", 5, 0)
    with pytest.raises(DataError, match=r"has [45] policies; to hold some out takes 10"):
        release.run(tmp_path / "runs", "ptb-small", places=places(tmp_path), partial=True)
    assert not (tmp_path / "package").exists()


def test_a_landscape_that_lacks_parts_is_refused_unless_it_is_asked_for(tmp_path, written):
    with pytest.raises(UsageError) as refused:
        release.run(written / "runs", "pydoc-lm", places=places(tmp_path))
    (line,) = str(refused.value).splitlines()
    assert "lacks hand, hand-strong, random-biased, random-1, " in line
    assert "evolution-3, repeats; run experiments/landscape.py --task pydoc-lm on, or release what is" in line
    assert not (tmp_path / "package").exists()
    card = (written / "first" / "results" / "pydoc-lm" / "README.md").read_text()
    assert "Only a part of the landscape: the studies random, without hand, hand-strong, " in card
    assert "experiments/release.py --name pydoc-lm --partial`" in card


def test_the_parts_of_a_whole_landscape_are_those_of_the_committed_one():
    studies = ROOT / "results" / "ptb-small" / "studies"
    assert release.missing_parts(studies, release.task_named("ptb-small")) == ()
    assert "Only a part" not in (ROOT / "results" / "ptb-small" / "README.md").read_text()


def test_a_copy_of_a_study_that_was_under_way_is_refused(tmp_path):
    studied(tmp_path / "runs" / "random-1", "random", 12, 0)
    studied(tmp_path / "runs" / "random-2", "random", 12, 1)
    compare(evaluate, {"none": None, "a": None}, seeds=2, executor="inline", out=tmp_path / "runs" / "c")
    with sqlite3.connect(tmp_path / "runs" / "random-2" / LEDGER_FILE) as ledger:
        ledger.execute("UPDATE study SET phase = 'search'")
    with pytest.raises(UsageError, match=r"that are not finished: random-2; go on with them, or copy"):
        run(tmp_path, "first")
    assert not (tmp_path / "first").exists()


def test_the_licence_lies_beside_the_trials(written, maps):
    for file, words in (
        (written / "first" / "package" / "pydoc-lm.jsonl", "Python's help texts are no part of it"),
        (maps / "package" / "mnist-small.jsonl", "MNIST's images are no part of it"),
    ):
        assert words in json.loads(file.read_text().splitlines()[0])["licence"]
        assert load(file).release.licence.startswith("Apache-2.0, as the package.")


def test_nothing_is_written_where_no_policy_is_by_chance(tmp_path):
    studied(tmp_path / "runs" / "evolution", "evolution", 40, 0, task="mnist-small", top=4, maps=True)
    with pytest.raises(DataError, match=r"has 0 random trials; the effects of this space are 49 numbers"):
        run(tmp_path, "first", "mnist-small")
    assert not (tmp_path / "first").exists()


def test_a_released_landscape_is_the_packaged_one():
    for path in (ROOT / "results").glob("*/trials.parquet"):
        table = parquet.read_table(path).to_pydict()
        packaged = load(path.parent.name)
        assert table["seed"] == [trial.seed for trial in packaged.trials]
        assert table["reward"] == [None if t.diverged else t.result.reward for t in packaged.trials]
        assert path.stat().st_size < 2_000_000
