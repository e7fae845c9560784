"""Searches that begin with what an earlier study learned."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
from scipy.stats import binomtest

from autodropout.engine.confirm import Confirmation
from autodropout.engine.halving import Halving
from autodropout.engine.history import replay
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.random import RandomSearcher
from autodropout.engine.run import search
from autodropout.engine.searchers import make_searcher
from autodropout.engine.warm import Pretrainable
from autodropout.errors import LedgerError, UsageError
from autodropout.result import Result
from autodropout.token_space import TokenSpace
from contracts.searcher import SPACES, scored, teach
from planted import PLANTED, best_of, planted

SPACE = TokenSpace(sites=("query", "ffn"))
LEARNERS = ("reinforce", "reinforce-paper", "categorical", "evolution", "tpe")
NONE = Confirmation(top=0)


def worth(policy, seed, budget=1.0):
    return Result(reward=len(policy.sites) + seed % 97 / 970, seconds=1.0)


def find(out, **changes):
    asked = {"trials": 24, "batch": 4, "out": out, "executor": "inline", "confirm": NONE}
    return search(worth, SPACE, **asked | changes)


def snapshots(study):
    with LedgerReader.open(study.out) as reader:
        return reader.snapshot(first=True)[1], reader.snapshot()[1]


@pytest.fixture
def earlier(memory_path):
    return find(memory_path / "earlier", searcher="random-biased").out


class TestLearners:
    """What each searcher makes of another study's trials."""

    def trials(self, space, seed=5):
        drawn = [p for draw in range(40) for p in RandomSearcher(space, seed=seed, biased=True).propose(draw)]
        return scored(drawn, [float(sum(p.tokens)) for p in drawn], update=3)

    @pytest.fixture(params=LEARNERS)
    def make(self, request):
        return lambda space: make_searcher(request.param, space, seed=1, trials=64)

    @pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
    def test_it_changes_what_is_proposed_and_is_repeatable(self, make, space):
        cold, warm, again = make(space), make(space), make(space)
        for searcher in (warm, again):
            searcher.pretrain(self.trials(space))
        assert warm.snapshot() == again.snapshot() != cold.snapshot()
        proposals = [[p.tokens for d in range(8) for p in s.propose(d)] for s in (cold, warm, again)]
        assert proposals[1] == proposals[2] != proposals[0]

    def test_it_counts_as_no_update_of_its_own(self, make):
        warm = make(SPACES["token"])
        warm.pretrain(self.trials(SPACES["token"]))
        (figures,) = teach(warm, 1)
        assert figures["updates"] == 1
        assert figures.get("staleness", 0) == 0

    def test_trials_without_a_probability_teach_too(self, make):
        warm, other = make(SPACES["token"]), make(SPACES["token"])
        trials = self.trials(SPACES["token"])
        warm.pretrain(
            [type(t)(**{f: getattr(t, f) for f in t.__slots__} | {"log_prob": None}) for t in trials]
        )
        assert warm.snapshot() != other.snapshot()

    def test_what_learns_can_be_warmed_and_what_does_not_cannot(self):
        for name in (*LEARNERS, "random", "knobs"):
            assert isinstance(make_searcher(name, SPACE, seed=0, trials=64), Pretrainable) is (
                name in LEARNERS
            )

    def test_reinforce_moves_towards_what_was_good(self):
        searcher = make_searcher("reinforce", SPACE, seed=1, trials=256)
        drawn = [p for d in range(256) for p in RandomSearcher(SPACE, seed=2, biased=True).propose(d)]
        searcher.pretrain(scored(drawn, [float(p.tokens[0] == 3) for p in drawn]))
        share = sum(p.tokens[0] == 3 for d in range(20) for p in searcher.propose(d)) / (20 * searcher.batch)
        before = sum(p.tokens[0] == 3 for p in drawn) / len(drawn)
        assert share > before + 0.3

    def test_what_it_hardly_draws_itself_counts_in_full(self):
        """Trials from far away: weighted by Eq. 3 they would not be seen."""
        near, far = (make_searcher("reinforce", SPACE, seed=1, trials=256) for _ in range(2))
        drawn = [p for d in range(64) for p in RandomSearcher(SPACE, seed=2).propose(d)]
        trials = scored(drawn, [float(p.tokens[0] == 3) for p in drawn])
        near.pretrain(trials)
        far.pretrain([replace(trial, log_prob=trial.log_prob + 50.0) for trial in trials])
        assert near.snapshot() == far.snapshot()

    def test_its_own_history_gives_nearly_the_searcher_that_made_it(self):
        """The same start and the same trials in the same order: what was learned there is learned here."""
        first = make_searcher("reinforce", SPACE, seed=1, trials=64)
        second = make_searcher("reinforce", SPACE, seed=1, trials=64)
        taught = []
        for update in range(8):
            proposals = first.propose(0)
            taught += scored(proposals, [float(sum(p.tokens)) for p in proposals], update=update)
            first.learn(taught[-first.batch :])
        second.pretrain(taught)
        # Adam makes much of the last bits, in which sampling and teaching differ.
        for one, two in zip(first.controller.parameters(), second.controller.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-2, atol=1e-3)


class TestSearches:
    @pytest.mark.parametrize("name", LEARNERS)
    def test_the_first_state_is_what_was_learned(self, memory_path, earlier, name):
        warm = find(memory_path / "warm", searcher=name, warm_start=earlier)
        cold = find(memory_path / "cold", searcher=name)
        assert snapshots(warm)[0] != snapshots(cold)[0]
        by_hand = make_searcher(name, SPACE, seed=0, trials=24, batch=4)
        with LedgerReader.open(earlier) as reader:
            by_hand.pretrain(reader.rewarded())
        assert snapshots(warm)[0] == by_hand.snapshot()

    @pytest.mark.parametrize("name", ["reinforce", "evolution", "tpe"])
    @pytest.mark.parametrize("halving", [None, Halving(factor=2, rungs=2, startup=2, window=8)])
    def test_resume_and_replay_need_the_earlier_study_no_more(self, memory_path, earlier, name, halving):
        asked = {"searcher": name, "warm_start": earlier, "halving": halving, "trials": 16}
        whole = find(memory_path / "whole", **asked)
        find(memory_path / "parts", **asked | {"trials": 8})
        shutil.rmtree(earlier)
        parts = find(memory_path / "parts", **asked)
        left_out = find(memory_path / "whole", **asked | {"warm_start": None})
        assert left_out.trials == whole.trials
        assert parts.tally().done == 16
        for study in (whole, parts):
            assert replay(study.out).snapshot() == snapshots(study)[1]

    def test_the_ledger_says_where_it_comes_from(self, memory_path, earlier):
        warm = find(memory_path / "warm", warm_start=str(earlier)).record.warm
        assert warm["out"] == str(earlier)
        assert (warm["searcher"], warm["seed"], warm["trials"]) == ("random-biased", 0, 24)
        json.dumps(warm, allow_nan=False)

    @pytest.mark.slow
    def test_a_warm_start_pays(self):
        """After 128 trials of another seed's search, 64 more find better policies than 64 from nothing."""
        better, seeds = 0, 8
        for seed in range(seeds):
            reward = planted(seed)
            source = make_searcher("reinforce", PLANTED, seed=100 + seed, trials=128)
            taught = []
            for update in range(128 // source.batch):
                proposals = source.propose(0)
                taught += scored(proposals, [reward(p.tokens) for p in proposals], update=update)
                source.learn(taught[-source.batch :])
            warm = make_searcher("reinforce", PLANTED, seed=seed, trials=64)
            warm.pretrain(taught)
            cold = make_searcher("reinforce", PLANTED, seed=seed, trials=64)
            better += best_of(warm, reward, 64) > best_of(cold, reward, 64)
        assert binomtest(better, seeds, alternative="greater").pvalue < 0.05


class TestWrongUse:
    def test_no_study(self, tmp_path):
        with pytest.raises(LedgerError, match="holds no study"):
            find(tmp_path / "new", warm_start=tmp_path / "nothing")
        assert not (tmp_path / "new").exists()

    def test_another_space(self, tmp_path, earlier):
        text = r"searched another space \(it differs in sites\); a warm start needs the same"
        with pytest.raises(UsageError, match=text):
            search(
                worth, TokenSpace(sites=("ffn",)), out=tmp_path / "new", executor="inline", warm_start=earlier
            )
        assert not (tmp_path / "new").exists()

    def test_a_searcher_that_learns_nothing(self, tmp_path, earlier):
        with pytest.raises(
            UsageError, match="'random' learns nothing from other studies; leave warm_start out"
        ):
            find(tmp_path / "new", searcher="random", warm_start=earlier)

    def test_too_few_trials(self, tmp_path):
        few = find(tmp_path / "few", trials=3, batch=3).out
        with pytest.raises(
            UsageError, match="has 3 trials with a reward; the searcher 'reinforce' learns from 4"
        ):
            find(tmp_path / "new", warm_start=few)

    def test_another_warm_start_is_another_study(self, tmp_path, earlier):
        find(tmp_path / "cold", trials=4)
        find(tmp_path / "warm", trials=4, warm_start=earlier)
        for name in ("cold", "warm"):
            with pytest.raises(UsageError, match="holds a study with another warm start"):
                find(tmp_path / name, trials=4, warm_start=tmp_path / "other")

    def test_diverged_and_failed_trials_come_along_at_the_floor(self, memory_path):
        out = memory_path / "floored"

        def evaluate(policy, seed):
            return math.nan if seed % 4 == 0 else worth(policy, seed)

        search(evaluate, SPACE, trials=16, out=out, executor="inline", confirm=NONE, floor=-1.0, batch=4)
        with LedgerReader.open(out) as reader:
            rewards = [trial.reward for trial in reader.rewarded()]
        assert len(rewards) == 16
        assert -1.0 in rewards
        assert find(memory_path / "warm", warm_start=out).finished
