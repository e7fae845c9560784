"""Searches whose trials all have one seed."""

import pytest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.halving import Halving
from autodropout.engine.run import search
from autodropout.errors import UsageError
from autodropout.token_space import TokenSpace

SPACE = TokenSpace(sites=("query", "ffn"))


def sites_on(policy, seed):
    return len(policy.sites) + seed % 97 / 97


def find(out, evaluate=sites_on, **changes):
    asked = {
        "trials": 8,
        "searcher": "random",
        "out": out,
        "executor": "inline",
        "confirm": Confirmation(top=2, seeds=3),
        "common_seed": True,
    }
    return search(evaluate, SPACE, **asked | changes)


def seeds(study, kind):
    return [trial.seed for trial in study.trials if trial.kind == kind]


def test_every_search_trial_has_it_and_confirmations_have_fresh_ones(memory_path):
    study = find(memory_path)
    assert len(seeds(study, "search")) == 8
    assert len(set(seeds(study, "search"))) == 1
    assert len(set(seeds(study, "confirm"))) == 3
    assert not set(seeds(study, "search")) & set(seeds(study, "confirm"))
    assert study.record.common_seed


def test_what_a_seed_does_to_all_policies_alike_tells_none_from_another(memory_path):
    rewards = {}
    for trial in find(memory_path, trials=24).trials:
        if trial.kind == "search":
            rewards.setdefault(len(trial.policy.sites), set()).add(trial.result.reward)
    assert len(rewards) > 1
    assert all(len(same) == 1 for same in rewards.values())


def test_another_study_has_another(memory_path):
    one, two = find(memory_path / "a"), find(memory_path / "b", seed=1)
    assert set(seeds(one, "search")) != set(seeds(two, "search"))


def test_by_default_each_trial_has_its_own(memory_path):
    study = find(memory_path, common_seed=False)
    assert len(set(seeds(study, "search"))) == 8
    assert not study.record.common_seed


def test_it_is_gone_on_with(memory_path):
    find(memory_path, trials=4)
    study = find(memory_path, trials=8)
    assert len(seeds(study, "search")) == 8
    assert len(set(seeds(study, "search"))) == 1


@pytest.mark.parametrize("begun", [True, False])
def test_with_and_without_are_two_studies(memory_path, begun):
    find(memory_path, trials=4, common_seed=begun)
    with pytest.raises(UsageError, match=f"with another common seed: {begun} there, {not begun} here"):
        find(memory_path, trials=8, common_seed=not begun)


@pytest.mark.parametrize("wrong", [1, "yes", None])
def test_anything_but_a_truth_value_is_refused(memory_path, wrong):
    with pytest.raises(UsageError, match=f"common_seed is {wrong!r}; expected True or False"):
        find(memory_path, common_seed=wrong)
    assert not (memory_path / "study.db").exists()


def test_with_halving_longer_trials_have_it_too(memory_path):
    def evaluate(policy, seed, budget=1.0):
        return len(policy.sites) + budget

    study = find(memory_path, evaluate, trials=12, halving=Halving(factor=2, rungs=3, startup=3, spared=0.1))
    assert {trial.budget for trial in study.trials} == {0.25, 0.5, 1.0}
    assert len(set(seeds(study, "search"))) == 1
