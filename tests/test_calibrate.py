"""experiments/calibrate.py and experiments/searchers.py, on a small landscape."""

import json
from pathlib import Path

import pytest

import calibrate
import searchers
from autodropout.benchmark.gathering import gather
from autodropout.benchmark.landscapes import load
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.variants import Variant
from autodropout.cli import main
from autodropout.engine.confirm import Confirmation
from autodropout.errors import UsageError
from toy_landscape import SPACE, studied

ROOT = Path(__file__).parents[1]
PLAN = Plan(variants=(), budgets=(8, 16), repetitions=3, every=8, confirm=Confirmation(top=2, seeds=2))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    out = tmp_path_factory.mktemp("landscape")
    studied(out / "runs" / "random", "random", 40, 0, top=4)
    gather(out / "runs", floor=0.08, regressor="ridge").release.save(out / "toy.jsonl")
    return out / "toy.jsonl"


@pytest.mark.parametrize("axis", calibrate.AXES)
def test_every_variant_can_be_made(axis):
    for words in calibrate.AXES[axis]:
        for trials in (64, 512):
            assert Variant.parse(words).make(SPACE, seed=0, trials=trials).batch >= 1


def test_names_are_unique():
    names = [words for variants in calibrate.AXES.values() for words in variants]
    assert len(names) == len(set(names))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(calibrate, "AXES", {"one": ("evolution", "knobs:batch=8"), "two": ("random-biased",)})


def test_it_goes_on_where_it_was(quick, file, tmp_path, monkeypatch):
    benchmark, ran = load(file), []
    real = calibrate.race

    def race(benchmark, plan, **rest):
        ran.append(plan.variants[-1].name)
        return real(benchmark, plan, **rest)

    monkeypatch.setattr(calibrate, "race", race)
    calibrate.run(benchmark, ["one"], plan=PLAN, out=tmp_path / "new", workers=1)
    assert ran == ["evolution", "knobs:batch=8"]
    rows = calibrate.run(benchmark, ["one", "two"], plan=PLAN, out=tmp_path / "new", workers=1)
    assert ran == ["evolution", "knobs:batch=8", "random-biased"]
    assert [row["variant"]["name"] for row in rows] == ["random", *ran]
    document = json.loads((tmp_path / "new" / "calibration.json").read_text())
    assert document["searchers"] == rows
    assert all(row["seconds"] > 0 for row in rows[1:])
    lines = (tmp_path / "new" / "calibration.md").read_text().splitlines()
    varied = [line.split(" | ")[:2] for line in lines if line.startswith("|")][2:]
    assert varied == [
        ["| reference", "random"],
        ["| one", "evolution"],
        ["| one", "knobs:batch=8"],
        ["| two", "random-biased"],
    ]


def test_what_was_made_otherwise_is_refused(quick, file, tmp_path):
    benchmark = load(file)
    calibrate.run(benchmark, ["two"], plan=PLAN, out=tmp_path, workers=1)
    other = Plan(variants=(), budgets=(8,), repetitions=3)
    with pytest.raises(UsageError, match=r"was made with plan .* move it away to begin anew"):
        calibrate.run(benchmark, ["two"], plan=other, out=tmp_path, workers=1)
    with pytest.raises(UsageError, match="there is no axis 'three'; choose from one, two"):
        calibrate.run(benchmark, ["three"], plan=PLAN, out=tmp_path, workers=1)


def test_the_figure_is_drawn_from_what_the_command_wrote(file, tmp_path):
    def command(words):
        words = [str(file) if word == "toy" else word for word in words]
        small = ["--trials", "16,32", "--searchers", "evolution,knobs:repetitions=2"]
        return main([*words, *small])

    (tmp_path / "results" / "toy").mkdir(parents=True)
    assert searchers.run("toy", repetitions=3, workers=1, root=tmp_path, command=command) == 0
    png, svg = (tmp_path / "docs" / "pictures" / f"searchers-toy.{kind}" for kind in ("png", "svg"))
    assert png.read_bytes()[:4] == b"\x89PNG"
    before = png.read_bytes(), svg.read_bytes()
    assert searchers.draw("toy", root=tmp_path) == (png, svg)
    assert (png.read_bytes(), svg.read_bytes()) == before
    facts = json.loads((tmp_path / "results" / "toy" / "searchers.json").read_text())
    assert [row["repetitions"] for row in facts["searchers"]] == [3, 3, 2]
    for row in facts["searchers"]:
        assert row["curve"]["unconfirmed"][-1] == row["standings"][-1]["unconfirmed"]
    assert all(title in svg.read_text() for title in searchers.TITLES)
    assert [path.name for path in (tmp_path / "results" / "toy").iterdir() if path.is_dir()] == []


def test_the_figure_has_the_best_trial_so_far_also_of_older_files(tmp_path):
    point = {"n": 2, "mean": 1.0, "spread": 0.1, "low": 0.9, "high": 1.1}
    standing = {"trials": 16, "unconfirmed": point}
    older = {"standings": [standing], "curve": {"trials": [8, 16], "ended": [point] * 2}}
    assert searchers._best_so_far(older) == ([16], [point])
    newer = older | {"curve": older["curve"] | {"unconfirmed": [point] * 2}}
    assert searchers._best_so_far(newer) == ([8, 16], [point] * 2)


def test_the_figure_is_not_drawn_after_a_failure(tmp_path):
    assert searchers.run("toy", root=tmp_path, command=lambda words: 130) == 130
    assert not (tmp_path / "docs").exists()
