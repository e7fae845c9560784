"""experiments/spaces.py, on a small landscape."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import spaces
from autodropout.benchmark.gathering import gather
from autodropout.benchmark.landscapes import Benchmark, load
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.variants import Variant
from autodropout.conv_space import ConvSpace
from autodropout.engine.confirm import Confirmation
from autodropout.errors import UsageError
from toy_landscape import SPACE, studied

ROOT = Path(__file__).parents[1]
PLAN = Plan(
    variants=[Variant.parse("evolution")],
    budgets=(8, 16),
    repetitions=3,
    every=8,
    confirm=Confirmation(top=2, seeds=2),
)
CHANGES = {"standard": {}, "off .2": {"off": 0.2}, "no stride": {"strides": (0,)}}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    out = tmp_path_factory.mktemp("landscape")
    studied(out / "runs" / "random", "random", 40, 0, top=4)
    gather(out / "runs", floor=0.08, regressor="ridge").release.save(out / "toy.jsonl")
    return load(out / "toy.jsonl")


@pytest.mark.parametrize("name", spaces.CHANGES)
def test_every_space_lies_in_the_standard_one(name, benchmark):
    benchmark.surrogate.check(replace(SPACE, **spaces.CHANGES[name]))


def test_it_goes_on_where_it_was(benchmark, tmp_path, monkeypatch):
    searched = []
    real = spaces.race

    def race(benchmark, plan, *, space, workers):
        searched.append(space.off if space.off != 0.5 else list(space.strides))
        return real(benchmark, plan, space=space, workers=workers)

    monkeypatch.setattr(spaces, "race", race)
    first = dict(list(CHANGES.items())[:2])
    spaces.run(benchmark, PLAN, out=tmp_path / "new", changes=first, workers=1)
    assert searched == [[0, 1, 2, 4, 8], 0.2]
    rows = spaces.run(benchmark, PLAN, out=tmp_path / "new", changes=CHANGES, workers=1)
    assert searched[2:] == [[0]]
    assert [row["space"] for row in rows] == list(CHANGES)
    facts = json.loads((tmp_path / "new" / "spaces.json").read_text())
    assert facts["spaces"] == rows
    assert all(len(ended) == 3 for row in rows for ended in row["ended"]["evolution"].values())
    for row in rows:
        for searcher in row["searchers"]:
            ended = row["ended"][searcher["variant"]["name"]]["16"]
            assert searcher["standings"][-1]["value"]["mean"] == pytest.approx(sum(ended) / 3, abs=1e-6)
    lines = (tmp_path / "new" / "spaces.md").read_text().splitlines()
    table = [line.split(" | ") for line in lines if line.startswith("|")][2:]
    assert [cells[:2] for cells in table] == [
        [f"| {space}", searcher] for space in CHANGES for searcher in ("random", "evolution")
    ]
    assert table[0][-2:] == ["", " |"], "the standard space is not compared with itself"


def test_what_was_made_otherwise_is_refused(benchmark, tmp_path):
    few = {"standard": {}}
    spaces.run(benchmark, PLAN, out=tmp_path, changes=few, workers=1)
    with pytest.raises(UsageError, match=r"was made with plan .* move it away to begin anew"):
        spaces.run(benchmark, replace(PLAN, repetitions=4), out=tmp_path, changes=few, workers=1)
    with pytest.raises(UsageError, match=r"was made with searchers .* move it away to begin anew"):
        spaces.run(benchmark, replace(PLAN, variants=[]), out=tmp_path, changes=few, workers=1)


def test_another_space_of_that_name_is_refused(benchmark, tmp_path):
    spaces.run(benchmark, PLAN, out=tmp_path, changes={"standard": {}, "few": {"off": 0.2}}, workers=1)
    with pytest.raises(UsageError, match=r"has another space 'few': {'off': 0.2}; move it away"):
        spaces.run(benchmark, PLAN, out=tmp_path, changes={"standard": {}, "few": {"off": 0.3}}, workers=1)


def test_a_landscape_of_maps_is_refused(benchmark, tmp_path):
    space = ConvSpace(sites={"a": (4, 4)})
    release = replace(benchmark.release, spaces={space.key: space})
    with pytest.raises(UsageError, match="maps has a ConvSpace; this varies a TokenSpace"):
        spaces.run(Benchmark(release, "maps"), PLAN, out=tmp_path)
