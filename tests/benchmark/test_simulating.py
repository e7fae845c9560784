import random
from dataclasses import replace

import numpy as np
import pytest

from autodropout.benchmark.deviation import Deviation, Noise, OwnNoise
from autodropout.benchmark.simulating import Setup, simulate
from autodropout.engine.base import Proposal
from autodropout.engine.confirm import Confirmation
from autodropout.engine.searchers import make_searcher
from toy_landscape import SPACE, true_reward


def noise(sd):
    level = Deviation(sd=sd, low=sd, high=sd, degrees=50, policies=25, reward=1.0)
    return Noise(pooled=level, levels=(level,))


def setup(trials=12, capacity=1, top=3, looks=None, seed=0, seeds=2):
    looks = looks or (trials,)
    confirm = Confirmation(top=top, seeds=seeds)
    return Setup(trials=trials, capacity=capacity, confirm=confirm, looks=looks, budgets=(trials,), seed=seed)


def predict(tokens):
    return np.array([true_reward(SPACE.decode(t)) for t in tokens])


class Counting:
    """Proposes 0, 1, 2, ... as tokens, two at a time, and keeps what it is taught."""

    name, batch, settings = "counting", 2, {}

    def __init__(self):
        self.taught, self.updates = [], 0

    def propose(self, draw):
        return tuple(
            Proposal(tokens=(self.updates, draw, place), log_prob=float(place)) for place in range(self.batch)
        )

    def learn(self, trials):
        self.taught.append(list(trials))
        self.updates += 1
        return {}


def test_a_capacity_of_one_learns_from_everything_before_it_proposes():
    searcher = Counting()
    simulate(lambda seed: searcher, lambda tokens: np.arange(len(tokens)) + 1.0, noise(0.0), setup(6), [0])
    taught = [trial for batch in searcher.taught for trial in batch]
    assert [t.tokens for t in taught] == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (2, 0, 0), (2, 0, 1)]
    assert [t.update for t in taught] == [0, 0, 1, 1, 2, 2]
    assert [t.trial for t in taught] == [1, 2, 3, 4, 5, 6]
    assert [t.log_prob for t in taught] == [0.0, 1.0] * 3


def test_a_larger_capacity_teaches_stale_trials():
    searcher = Counting()
    simulate(
        lambda seed: searcher, lambda tokens: np.ones(len(tokens)), noise(0.0), setup(8, capacity=4), [0]
    )
    taught = [trial for batch in searcher.taught for trial in batch]
    assert [t.update for t in taught] == [0, 0, 0, 0, 0, 1, 1, 2]
    assert [t.tokens[:2] for t in taught[:4]] == [(0, 0), (0, 0), (0, 1), (0, 1)]


def test_the_reward_is_the_value_and_the_noise_of_the_repetition():
    searchers = {}

    def make(seed):
        return searchers.setdefault(seed, Counting())

    quiet = simulate(make, lambda tokens: np.full(len(tokens), 2.0), noise(0.0), setup(40), [0, 1])
    assert (quiet.proposed == 2.0).all()
    assert {t.reward for s in searchers.values() for batch in s.taught for t in batch} == {2.0}
    searchers.clear()
    simulate(make, lambda tokens: np.full(len(tokens), 2.0), noise(0.5), setup(40), [0, 1])
    rewards = np.array([[t.reward for batch in s.taught for t in batch] for s in searchers.values()])
    assert rewards.shape == (2, 40)
    assert rewards.std() == pytest.approx(0.5, rel=0.3)
    assert not np.array_equal(rewards[0], rewards[1])


def test_all_searchers_meet_the_same_noise():
    def rewards(name):
        taught = []

        def make(seed):
            searcher = make_searcher(name, SPACE, seed=seed, trials=10)
            learn = searcher.learn
            searcher.learn = lambda trials: taught.extend(trials) or learn(trials)
            return searcher

        run = simulate(make, predict, noise(0.1), setup(10), [4])
        return np.array([t.reward for t in taught]) - run.proposed[0]

    assert rewards("random") == pytest.approx(rewards("random-biased"))


def test_without_noise_a_user_ends_with_the_best_proposal():
    run = simulate(
        lambda seed: make_searcher("random", SPACE, seed=seed, trials=30),
        predict,
        noise(0.0),
        setup(30, looks=(10, 30)),
        range(5),
    )
    best = np.maximum.accumulate(run.proposed, axis=1)[:, [9, 29]]
    assert np.array_equal(run.ended, best)
    assert np.array_equal(run.unconfirmed, best)
    assert run.looks == (10, 30)


def test_confirmation_helps_where_noise_is_large():
    def mean(top):
        run = simulate(
            lambda seed: make_searcher("random", SPACE, seed=seed, trials=64),
            predict,
            noise(0.2),
            setup(64, top=top, seeds=16),
            range(20),
        )
        return run.ended.mean(), run.unconfirmed.mean()

    confirmed, unconfirmed = mean(8)
    assert confirmed > unconfirmed + 0.02
    assert mean(0) == (unconfirmed, unconfirmed)


def test_a_policy_is_confirmed_once_however_often_it_was_proposed():
    """Two policies, one of them lucky in many trials: both are among the top two."""

    class Same(Counting):
        def propose(self, draw):
            rng = random.Random(self.updates)
            return tuple(Proposal(tokens=(int(rng.random() < 0.1),), log_prob=None) for _ in range(2))

    def value(tokens):
        return np.array([1.0 + 0.1 * t[0] for t in tokens])

    run = simulate(lambda seed: Same(), value, noise(0.15), setup(60, top=2, seeds=64), range(10))
    assert run.ended.ravel().tolist() == [1.1] * 10
    assert run.unconfirmed.mean() < 1.1


def test_the_same_seed_gives_the_same_and_another_does_not():
    def run(seed, repetitions):
        return simulate(
            lambda s: make_searcher("evolution", SPACE, seed=s, trials=20),
            predict,
            noise(0.1),
            setup(20, seed=seed),
            repetitions,
        )

    assert np.array_equal(run(0, range(4)).proposed[2:], run(0, [2, 3]).proposed)
    assert not np.array_equal(run(0, [0]).proposed, run(1, [0]).proposed)


class TestCommonSeed:
    """All trials of a search have the same seed, so that only a policy's own luck is left."""

    OWN = OwnNoise(sd=0.1, low=0.1, high=0.1, degrees=50, policies=25, fraction=0.04)

    def noise(self):
        return replace(noise(0.5), own=self.OWN)

    def rewards(self, searcher, trials, *, common_seed):
        simulate(
            lambda seed: searcher,
            lambda tokens: np.full(len(tokens), 2.0),
            self.noise(),
            replace(setup(trials), common_seed=common_seed),
            [0],
        )
        return np.array([t.reward for batch in searcher.taught for t in batch])

    def test_the_noise_is_a_policys_own(self):
        apart = self.rewards(Counting(), 40, common_seed=False)
        together = self.rewards(Counting(), 40, common_seed=True)
        assert together - 2 == pytest.approx((apart - 2) * 0.2)

    def test_a_policy_that_is_tried_again_has_the_luck_that_it_had(self):
        class Twice(Counting):
            def propose(self, draw):
                return tuple(Proposal(tokens=(self.updates % 5, place), log_prob=None) for place in range(2))

        assert len(set(self.rewards(Twice(), 40, common_seed=True))) == 10
        assert len(set(self.rewards(Twice(), 40, common_seed=False))) == 40

    def test_confirmation_shares_its_seeds_whatever_the_search_did(self):
        """So that a policy a little better is found again, though seeds move all alike by much more."""

        def ended(found):
            run = simulate(
                lambda seed: make_searcher("random", SPACE, seed=seed, trials=64),
                predict,
                found,
                setup(64, top=8),
                range(40),
            )
            return run.ended.mean()

        assert ended(self.noise()) > ended(noise(0.5)) + 0.02


def test_tokens_of_the_same_policy_are_one_among_the_best_and_share_their_luck():
    """All proposals are one policy: there is nothing to choose from, and under one seed no noise."""
    proposed = []

    def make(seed):
        searcher = Counting()
        proposed.append(searcher)
        return searcher

    one_seed = replace(setup(8, top=3), common_seed=True)
    told = simulate(make, lambda t: np.ones(len(t)), noise(0.5), one_seed, [0], lambda tokens: (0,))
    apart = simulate(make, lambda t: np.ones(len(t)), noise(0.5), one_seed, [0])
    same, different = ({t.reward for batch in s.taught for t in batch} for s in proposed)
    assert (len(same), len(different)) == (1, 8)
    assert told.ended == apart.ended == 1.0
