import math
from random import Random
from statistics import fmean

import numpy as np
import pytest

from autodropout.report.effects import effects, explained_variance
from autodropout.report.record import read_record
from autodropout.significance import summarise
from recorded import SPACE, Run, record_study


def on(size, *, share_c=0):
    """Tokens with the first site on and the second off."""
    return (size, 0, 0, 0, 0, 0, share_c, 0) + (0,) * 8


def loop_explained(groups, rewards):
    """epsilon squared, written out."""
    mean, total, between = fmean(rewards), 0.0, 0.0
    for reward in rewards:
        total += (reward - mean) ** 2
    for group in set(groups):
        mine = [r for r, g in zip(rewards, groups, strict=True) if g == group]
        between += len(mine) * (fmean(mine) - mean) ** 2
    df = len(set(groups)) - 1
    within = (total - between) / (len(rewards) - len(set(groups)))
    return (between - df * within) / total


def found(tmp_path, runs):
    record_study(tmp_path, runs)
    return effects(read_record(tmp_path))


def choice(found, site, name):
    return next(c for c in found.choices if (c.site, c.name) == (site, name))


def test_values_have_mean_and_interval_of_their_trials(tmp_path):
    rewards = {1: [0.5, 0.6, 0.7], 2: [0.1, 0.2]}
    runs = [Run(reward=r, tokens=on(size)) for size, group in rewards.items() for r in group]
    size = choice(found(tmp_path, runs), "stem.bn", "size")
    assert [value.value for value in size.values] == list(SPACE.choices[0].values)
    assert size.n == 5
    assert size.values[1].summary == summarise(rewards[1])
    assert size.values[2].summary == summarise(rewards[2])
    assert size.values[0].summary is None


def test_a_dead_choice_does_not_count(tmp_path):
    runs = [Run(reward=0.5, tokens=on(1)), Run(reward=0.9, tokens=(0,) * 16)]
    result = found(tmp_path, runs)
    assert choice(result, "stem.bn", "share_c").n == 1
    assert choice(result, "block.bn", "share_c").n == 0
    assert choice(result, "block.bn", "size").n == 2


def test_trials_without_a_reward_are_counted_apart(tmp_path):
    runs = [Run(reward=r, tokens=on(1)) for r in (0.5, math.nan, None)]
    result = found(tmp_path, runs)
    value = choice(result, "stem.bn", "size").values[1]
    assert (value.summary.n, value.without) == (1, 2)
    assert (result.n, result.mean) == (1, 0.5)


def test_the_planted_choice_comes_first_and_above_chance(tmp_path):
    rng = Random(4)
    runs = []
    for _ in range(40):
        share = rng.randrange(2)
        runs.append(Run(reward=0.5 + 0.1 * share + rng.gauss(0, 0.02), tokens=on(1, share_c=share)))
    result = found(tmp_path, runs)
    first = result.choices[0]
    assert (first.site, first.name) == ("stem.bn", "share_c")
    assert first.explained > 0.7 > result.chance


def test_noise_stays_below_the_level_of_chance(tmp_path):
    rng = Random(5)
    result = found(tmp_path, [Run(reward=rng.random()) for _ in range(60)])
    assert result.choices[0].explained < result.chance
    assert 0.0 < result.chance < 1.0


def test_explained_variance_is_epsilon_squared():
    rng = Random(1)
    groups = [rng.randrange(3) for _ in range(20)]
    rewards = [[rng.random() + 0.2 * g for g in groups] for _ in range(2)]
    share = explained_variance(np.array(groups), np.array(rewards).T)
    assert share == pytest.approx([loop_explained(groups, column) for column in rewards], abs=1e-12)


def test_explained_variance_of_noise_is_zero_on_average():
    rng = np.random.default_rng(2)
    shares = explained_variance(np.arange(30) % 5, rng.normal(size=(30, 4000)))
    # Its deviation is about .13 per column, so the mean of 4,000 lies within .011 but once in 10^7.
    assert abs(shares.mean()) < 0.011


@pytest.mark.parametrize(
    ("groups", "rewards"),
    [
        ([0, 0, 0, 0], [1.0, 2.0, 3.0, 4.0]),
        ([0, 0, 1, 1], [1.0, 2.0, 3.0, 4.0]),
        ([0] * 3 + [1] * 3, [0.1] * 6),
    ],
)
def test_too_little_to_tell_is_no_number(groups, rewards):
    assert math.isnan(explained_variance(np.array(groups), np.array(rewards)[:, None])[0])


def test_a_study_without_rewards_has_no_effects(tmp_path):
    result = found(tmp_path, [Run(reward=math.nan)])
    assert (result.n, result.mean, result.chance) == (0, None, None)
    assert {effect.explained for effect in result.choices} == {None}
