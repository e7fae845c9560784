from dataclasses import replace
from types import SimpleNamespace

import pytest

import landscape
import landscape_parts
import stripes
from autodropout.data.text import CorpusSize
from autodropout.engine.study import Study
from autodropout.errors import DataError, UsageError
from autodropout.tasks.images.named import MNIST_SMALL
from autodropout.tasks.text.small import PtbSmall, PydocLm

SIZE = CorpusSize(vocabulary=50, train=800, validation=400, test=400)
SHORT = PydocLm(recipe=replace(PydocLm().recipe, size=SIZE, steps=2, width=16, heads=2, measurements=1))
FEW = 3


def test_there_are_enough_trials():
    by_hand = landscape_parts.by_hand("hand", SHORT.space()).batch
    assert by_hand + sum(part.trials for part in landscape_parts.TOKEN_PARTS) >= 1500


def test_by_hand_are_all_ways_and_rates_of_every_single_role():
    space = SHORT.space()
    listed = landscape_parts.by_hand("hand", space).listed
    assert len(listed) == len(set(listed)) == 1 + (6 * 6 + 4) * 5
    policies = [space.decode(tokens) for tokens in listed]
    assert sorted({len([p for p in policy.sites.values() if not p.off]) for policy in policies}) == [0, 1]


def test_by_hand_are_upright_tiles_at_single_sites_and_at_all():
    space = stripes.TASK.space()
    listed = landscape_parts.by_hand("hand", space).listed
    policies = [space.decode(tokens) for tokens in listed]
    assert [space.encode(policy) for policy in policies] == list(listed)
    assert len(listed) == len(set(listed))
    patterns = [[p for p in policy.sites.values() if not p.off] for policy in policies]
    assert {len(found) for found in patterns} == {0, 1, len(space.sites)}
    for pattern in (pattern for found in patterns for pattern in found):
        assert (pattern.repeat, pattern.rotate, pattern.shear_x, pattern.residual) == ("fill", 0, 0, False)
    for site, choices in space.site_choices.items():
        alone = [policy.sites[site] for policy in policies if list(policy.sites) == [site]]
        assert {pattern.height for pattern in alone} == set(choices[0].values[1:])
        assert sum(pattern.share_c for pattern in alone) == len(alone) / 2


def test_a_task_on_images_has_a_landscape_of_its_own(tmp_path, monkeypatch):
    few_parts(monkeypatch)
    parts = [replace(part, trials=8) for part in landscape_parts.MAP_PARTS if part.name == "reinforce-1"]
    inline = landscape.How(executor="inline")
    hand, found = landscape.run(stripes.TASK, tmp_path, inline, parts, only=["hand", "reinforce-1"])
    assert (hand.record.searcher, len(hand.confirmed)) == ("hand", FEW)
    assert hand.space.key == found.space.key == stripes.TASK.space().key
    with pytest.raises(UsageError, match="stripes is searched over feature maps; the remedies are for"):
        landscape_parts.remedies(stripes.TASK)


def test_there_are_enough_trials_on_images():
    assert landscape.TASKS["mnist-small"] == MNIST_SMALL
    hand, *searches = (*landscape_parts.by_hand_of(MNIST_SMALL), *landscape_parts.searches_of(MNIST_SMALL))
    assert hand.trials + sum(part.trials for part in searches) == 193 + 4 * 128
    assert len(landscape_parts.by_hand("hand", MNIST_SMALL.space()).listed) == 193


def test_a_landscape_is_over_roles_or_feature_maps():
    task = SimpleNamespace(name="odd", space=lambda: SimpleNamespace())
    with pytest.raises(
        UsageError, match="odd has a SimpleNamespace; landscapes are over roles or feature maps"
    ):
        landscape_parts.wide(task)


def few_parts(monkeypatch):
    every = landscape_parts.by_hand

    def few(name, space):
        return landscape_parts.Listed(name=name, listed=every(name, space).listed[:FEW])

    monkeypatch.setattr(landscape_parts, "by_hand", few)
    return [
        landscape_parts.Part(name=name, searcher=name, trials=trials, seed=1)
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
    with pytest.raises(UsageError, match="pydoc-lm has no part random-9; choose from hand, hand-strong, ran"):
        landscape.run(SHORT, tmp_path, inline, parts, only=["random", "random-9"])


def test_remedies_are_the_same_searches_over_fewer_values_with_one_seed_for_all_trials(tmp_path):
    remedies = landscape_parts.remedies(SHORT)
    assert [replace(part, name="", space=None, common_seed=False) for part in remedies] == [
        replace(part, name="") for part in landscape_parts.TOKEN_PARTS if part.searcher == "reinforce"
    ]
    assert {part.space.key for part in remedies} == {SHORT.space().key} != {landscape_parts.wide(SHORT).key}
    few = [replace(part, trials=4, confirm=None) for part in remedies[:1]]
    names = [part.name for part in few]
    (study,) = landscape.run(SHORT, tmp_path, landscape.How(executor="inline"), few, names)
    assert len({trial.seed for trial in study.trials}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reinforce-remedied-1"]


def test_missing_data_are_said_before_anything_runs(tmp_path):
    with pytest.raises(DataError, match="Penn Treebank is not at"):
        landscape.run(PtbSmall(data=str(tmp_path)), tmp_path / "out", landscape.How())
    assert not (tmp_path / "out").exists()
