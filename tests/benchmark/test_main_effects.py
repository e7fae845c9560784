import random
from dataclasses import replace

import numpy as np
import pytest

from autodropout.benchmark.main_effects import main_effects, random_part
from autodropout.benchmark.released import Released
from autodropout.benchmark.strength import strengths
from autodropout.errors import DataError
from autodropout.result import Result
from autodropout.token_space import TokenSpace

SPACE = TokenSpace(sites=("ffn", "residual"), sizes=(1, 4, "whole"), strides=(0, 2), rates=(0.1, 0.3, 0.5))


def reward(tokens):
    """Size and rate at the first site, nothing at the second."""
    size, _, _, _, rate = tokens[:5]
    return 1.0 if size == 0 else 1.0 + (0.1, 0.2, 0.3)[size - 1] + (-0.04, 0.01, 0.03)[rate]


def drawn(n, source="random", noise=0.02, seed=0):
    rng = random.Random(seed)
    for number in range(n):
        tokens = SPACE.sample(rng, biased=source == "random-biased")
        yield Released(
            policy=SPACE.decode(tokens),
            tokens=tokens,
            space=SPACE.key,
            source=source,
            study=source,
            kind="search",
            trial=number,
            seed=number,
            result=Result(reward=reward(tokens) + rng.gauss(0, noise)),
            repeat=0,
        )


@pytest.fixture(scope="module")
def trials():
    return [*drawn(500), *drawn(300, "random-biased", seed=1)]


def test_planted_effects_are_inside_their_intervals(trials):
    found = main_effects(trials, SPACE)
    assert found.n == 800
    choices = {(c.site, c.name): c for c in found.choices}
    size = choices["role:ffn", "size"]
    assert [v.value for v in size.values] == [0, 1, 4, "whole"]
    assert (size.values[0].effect, size.values[0].low, size.values[0].high) == (0, 0, 0)
    for value, true in zip(size.values[1:], (0.1, 0.2, 0.3), strict=True):
        assert value.low < true < value.high
        assert value.high - value.low < 0.03
    for value, true in zip(choices["role:ffn", "rate"].values, (-0.04, 0.01, 0.03), strict=True):
        assert value.low < true < value.high


def test_choices_that_matter_come_first_and_the_dead_ones_are_called_dead(trials):
    found = main_effects(trials, SPACE)
    assert [(c.site, c.name) for c in found.choices[:2]] == [("role:ffn", "size"), ("role:ffn", "rate")]
    assert all(c.p < 1e-6 for c in found.choices[:2])
    assert all(c.p > 0.01 and abs(c.explained) < 0.01 for c in found.choices[2:])
    assert found.explained > 0.9


def test_intervals_cover_the_truth_as_often_as_they_say():
    covered = []
    for seed in range(60):
        found = main_effects(list(drawn(150, noise=0.1, seed=seed)), SPACE)
        size = next(c for c in found.choices if (c.site, c.name) == ("role:ffn", "size"))
        covered += [v.low < t < v.high for v, t in zip(size.values[1:], (0.1, 0.2, 0.3), strict=True)]
    assert 0.88 < np.mean(covered) < 0.995


def test_shares_count_trials(trials):
    found = main_effects(trials, SPACE)
    size = next(c for c in found.choices if (c.site, c.name) == ("role:ffn", "size"))
    for token, value in enumerate(size.values):
        assert value.n == sum(t.tokens[0] == token for t in trials)
        assert value.share == value.n / 800
    assert size.values[-1].top > 0.9 > size.values[-1].share
    rate = next(c for c in found.choices if (c.site, c.name) == ("role:ffn", "rate"))
    assert sum(v.n for v in rate.values) == sum(t.tokens[0] != 0 for t in trials)


def test_only_the_first_random_trial_of_a_policy_counts(trials):
    one = trials[0]
    others = [
        replace(one, repeat=1),
        replace(one, kind="confirm"),
        replace(one, source="evolution"),
        replace(one, space="another"),
        replace(one, result=Result(reward=float("nan"))),
    ]
    assert random_part([one, *others], SPACE) == [one]


def test_too_few_trials_are_said():
    with pytest.raises(
        DataError, match=r"has 30 random trials; .* are 18 numbers, which take 36 trials or more"
    ):
        main_effects(list(drawn(30)), SPACE)


def test_strength_says_how_often_chance_beats_no_dropout(trials):
    uniform, biased = strengths(trials, SPACE, none=1.0)
    assert (uniform.source, uniform.n, biased.source, biased.n) == ("random", 500, "random-biased", 300)
    mine = [t for t in trials if t.source == "random"]
    assert uniform.better == sum(t.result.reward > 1.0 for t in mine) / 500
    assert uniform.low < uniform.better < uniform.high
    assert uniform.quantiles[2] == pytest.approx(np.median([t.result.reward for t in mine]))
    assert uniform.best == max(t.result.reward for t in mine)
    assert uniform.rate == pytest.approx(
        np.median([p.drop_rate() for t in mine for p in t.policy.sites.values()])
    )
    assert (uniform.sites, biased.sites) == (2.0, 1.0)
    (never,) = strengths(mine, SPACE, none=9.0)
    assert (never.better, never.low) == (0.0, 0.0)
    assert 0.0 < never.high < 0.01


def test_what_the_ways_of_drawing_differ_in_otherwise_is_no_effect(trials):
    """A part that ran on a better machine, say: the drawn sizes differ between the parts, too."""
    lifted = [
        replace(t, result=Result(reward=t.result.reward + 0.5 * (t.source == "random-biased")))
        for t in trials
    ]
    before, after = main_effects(trials, SPACE), main_effects(lifted, SPACE)
    for old, new in zip(before.choices[:2], after.choices[:2], strict=True):
        assert [v.effect for v in new.values] == pytest.approx([v.effect for v in old.values])
