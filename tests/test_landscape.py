import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autodropout.data.text import CorpusSize
from autodropout.engine.study import Study
from autodropout.errors import DataError, UsageError
from autodropout.tasks.text.small import PtbSmall, PydocLm

SPEC = importlib.util.spec_from_file_location(
    "landscape", Path(__file__).parents[1] / "experiments" / "landscape.py"
)
landscape = importlib.util.module_from_spec(SPEC)

SIZE = CorpusSize(vocabulary=50, train=800, validation=400, test=400)
SHORT = PydocLm(recipe=replace(PydocLm().recipe, size=SIZE, steps=2, width=16, heads=2, measurements=1))
FEW = 3


@pytest.fixture(autouse=True, scope="module")
def loaded():
    sys.modules["landscape"] = landscape  # a frozen dataclass with slots looks its module up
    SPEC.loader.exec_module(landscape)
    yield
    del sys.modules["landscape"]


def test_there_are_enough_trials():
    by_hand = landscape.by_hand("hand", SHORT.space()).batch
    assert by_hand + sum(part.trials for part in landscape.PARTS) >= 1500


def test_by_hand_are_all_ways_and_rates_of_every_single_role():
    space = SHORT.space()
    listed = landscape.by_hand("hand", space).listed
    assert len(listed) == len(set(listed)) == 1 + (6 * 6 + 4) * 5
    policies = [space.decode(tokens) for tokens in listed]
    assert sorted({len([p for p in policy.sites.values() if not p.off]) for policy in policies}) == [0, 1]


def few_parts(monkeypatch):
    every = landscape.by_hand

    def few(name, space):
        return landscape.Listed(name=name, listed=every(name, space).listed[:FEW])

    monkeypatch.setattr(landscape, "by_hand", few)
    return [
        landscape.Part(name=name, searcher=name, trials=trials, seed=1)
        for name, trials in (("random", 14), ("evolution", 8))
    ]


def test_it_runs_all_parts_repeats_a_tenth_and_goes_on_where_it_was(tmp_path, monkeypatch):
    parts, inline = few_parts(monkeypatch), landscape.How(executor="inline")
    studies = landscape.run(SHORT, tmp_path, inline, parts)
    searched = [[trial for trial in study.trials if trial.kind == "search"] for study in studies]
    assert list(map(len, searched)) == [3, 3, 14, 8, 6]
    assert [len(study.confirmed) for study in studies] == [3, 3, 0, 0, 0]
    hand, _, random, evolution, repeated = searched
    originals = [*hand, *random, *evolution][::10]
    assert [t.tokens for t in repeated] == [t.tokens for t in originals] * 2
    seeds = {(t.tokens, t.seed) for t in [*originals, *repeated]}
    assert len(seeds) == 9  # three policies, each on three seeds
    assert {study.task for study in studies} == {SHORT.key}
    trained = [study.timings for study in studies]
    again = landscape.run(SHORT, tmp_path, inline, parts)
    assert [study.timings for study in again] == trained  # nothing ran twice
    assert Study(tmp_path / "repeats").record.searcher == "repeats"


def test_some_parts_only_and_the_repeats_last(tmp_path, monkeypatch):
    parts, inline = few_parts(monkeypatch), landscape.How(executor="inline")
    (study,) = landscape.run(SHORT, tmp_path, inline, parts, only=["random"])
    assert study.out.name == "random"
    with pytest.raises(UsageError, match="hand, hand-strong, evolution must be finished first"):
        landscape.run(SHORT, tmp_path, inline, parts, only=["repeats"])


def test_remedies_are_the_same_searches_over_fewer_values_with_one_seed_for_all_trials(tmp_path):
    remedies = landscape.remedies(SHORT)
    assert [replace(part, name="", space=None, common_seed=False) for part in remedies] == [
        replace(part, name="") for part in landscape.PARTS if part.searcher == "reinforce"
    ]
    assert {part.space.key for part in remedies} == {SHORT.space().key} != {landscape.wide(SHORT).key}
    few = [replace(part, trials=4, confirm=None) for part in remedies[:1]]
    names = [part.name for part in few]
    (study,) = landscape.run(SHORT, tmp_path, landscape.How(executor="inline"), few, names)
    assert len({trial.seed for trial in study.trials}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reinforce-remedied-1"]


def test_missing_data_are_said_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match="Penn Treebank is not at"):
        landscape.run(PtbSmall(data=str(tmp_path)), tmp_path / "out", landscape.How())
    assert not (tmp_path / "out").exists()
