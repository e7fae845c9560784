import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from autodropout.benchmark.deviation import measured, noise_of, own_noise_of, repeatability, without_dropout
from autodropout.benchmark.released import Released
from autodropout.errors import DataError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.result import Result
from toy_landscape import NOISE


def trial(place, seed, reward, kind="search"):
    """One of many policies that differ in their rate."""
    policy = Policy({"role:ffn": TokenPattern(size=1, rate=(place + 1) / 1000)})
    return Released(
        policy=policy,
        tokens=(),
        space="",
        source="random",
        study="a",
        kind=kind,
        trial=1,
        seed=seed,
        result=Result(reward=reward),
        repeat=0,
    )


def test_the_pooled_deviation_is_that_of_the_formula():
    trials = [
        trial(0, 1, 1.0),
        trial(0, 2, 1.2),
        trial(1, 1, 2.0),
        trial(1, 2, 2.1),
        trial(1, 3, 2.3),
        trial(2, 1, 9.0),
    ]
    noise = noise_of(trials).pooled
    squares = 2 * 0.1**2 + sum((r - 6.4 / 3) ** 2 for r in (2.0, 2.1, 2.3))
    assert noise.sd == pytest.approx(math.sqrt(squares / 3))
    assert noise.low == pytest.approx(math.sqrt(squares / chi2.ppf(0.975, 3)))
    assert noise.high == pytest.approx(math.sqrt(squares / chi2.ppf(0.025, 3)))
    assert (noise.degrees, noise.policies) == (3, 2)


def test_planted_noise_is_found_within_its_interval(release):
    noise = noise_of(release.trials).pooled
    assert noise.degrees >= 24
    assert noise.low < NOISE < noise.high


def test_levels_follow_the_reward():
    rng = np.random.default_rng(0)
    trials = [
        trial(place, seed, level + rng.normal(0, 0.01 * 4**level))
        for place in range(60)
        for level in [place // 20]
        for seed in range(3)
    ]
    noise = noise_of(trials)
    assert [level.reward for level in noise.levels] == pytest.approx([0, 1, 2], abs=0.05)
    assert [level.sd for level in noise.levels] == pytest.approx([0.01, 0.04, 0.16], rel=0.3)
    ends = noise.at(np.array([-5.0, 5.0]))
    assert ends.tolist() == [noise.levels[0].sd, noise.levels[2].sd]
    middle = noise.at(np.array([(noise.levels[0].reward + noise.levels[1].reward) / 2]))
    assert middle[0] == pytest.approx((noise.levels[0].sd + noise.levels[1].sd) / 2)


def test_few_repeats_have_one_level():
    noise = noise_of([trial(place, seed, seed * 0.1) for place in range(5) for seed in range(2)])
    assert noise.levels == (noise.pooled,)


def test_the_reward_that_chose_a_policy_does_not_count():
    trials = [trial(0, 1, 9.0), trial(0, 2, 1.0, "confirm"), trial(0, 3, 1.2, "confirm"), trial(1, 1, 2.0)]
    groups = measured(trials).values()
    assert [[t.result.reward for t in group] for group in groups] == [[1.0, 1.2], [2.0]]
    assert noise_of(trials).pooled.sd == pytest.approx(math.sqrt(0.02))
    first, second = repeatability(trials)
    assert (first.tolist(), second.tolist()) == ([1.0], [1.2])


def test_diverged_trials_and_the_same_seed_again_say_nothing():
    trials = [trial(0, 1, 1.0), trial(0, 1, 1.0), trial(0, 2, math.nan)]
    with pytest.raises(DataError, match="no policy of the landscape was trained with two seeds"):
        noise_of(trials)
    assert noise_of([*trials, replace(trials[0], seed=5)]).pooled.sd == 0.0


@pytest.fixture(scope="module")
def planted():
    """Twelve studies of eight policies on four seeds; a seed moves all alike by 3, each alone by 1."""
    rng = np.random.default_rng(0)
    trials = []
    for study in range(12):
        common, own = rng.normal(0, 3, 4), rng.normal(0, 1, (8, 4))
        trials += [
            replace(trial(8 * study + place, seed, 5 * place + reward, "confirm"), study=str(study))
            for place, rewards in enumerate(common + own)
            for seed, reward in enumerate(rewards)
        ]
    return trials


def test_no_dropout_counts_once_per_seed():
    bare = replace(trial(0, 1, 1.0), policy=Policy({}))
    trials = [
        bare,
        replace(bare, study="b"),
        replace(bare, seed=2, result=Result(reward=3.0)),
        trial(1, 1, 9.0),
    ]
    assert without_dropout(trials).tolist() == [1.0, 3.0]
    assert without_dropout([trial(1, 1, 9.0)]).tolist() == []


class TestOwn:
    """What is left of the noise among policies of the same seed."""

    def test_is_told_from_what_a_seed_does_to_all(self, planted):
        noise = noise_of(planted)
        own = noise.own
        assert own.low < 1 < own.high
        assert (own.degrees, own.policies) == (12 * 7 * 3, 96)
        assert own.fraction == pytest.approx(own.sd**2 / noise.pooled.sd**2)
        rewards = np.array([0.0, 20.0])
        assert noise.at(rewards, same_seed=True) == pytest.approx(noise.at(rewards) * own.fraction**0.5)

    def test_is_the_residual_of_a_two_way_analysis_of_variance(self):
        table = np.array([[1.0, 2.0, 4.0], [3.0, 3.5, 7.0]])
        own = own_noise_of([trial(p, s, table[p, s], "confirm") for p in range(2) for s in range(3)])
        residual = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
        assert own.sd == pytest.approx(math.sqrt((residual**2).sum() / 2))

    def test_a_policy_that_lacks_a_seed_does_not_count(self, planted):
        lacking = [replace(t, result=Result(reward=math.nan)) if t is planted[0] else t for t in planted]
        assert own_noise_of(lacking) == own_noise_of(planted[4:])

    def test_trials_of_searches_share_nothing(self, planted):
        assert own_noise_of([replace(t, kind="search") for t in planted]) is None
        alone = noise_of([replace(t, kind="search") for t in planted])
        assert alone.own is None
        assert alone.at(np.array([1.0]), same_seed=True) == alone.at(np.array([1.0]))

    def test_rewards_that_never_differ_leave_nothing(self):
        own = own_noise_of([trial(p, s, float(p), "confirm") for p in range(3) for s in range(2)])
        assert (own.sd, own.fraction) == (0.0, 1.0)
