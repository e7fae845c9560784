import math
import random
from statistics import fmean, pstdev

import pytest

from autodropout.engine.advantage import MODES, advantages, moved
from autodropout.errors import StudyError

REWARDS = [0.3, 0.9, 0.1, 0.4, 0.6]
SOUND = [False] * 5


def test_the_moving_average_is_used_before_it_is_updated():
    result = advantages(REWARDS, SOUND, "ema", 0.5)
    assert result.values == pytest.approx([-0.2, 0.4, -0.4, -0.1, 0.1])
    assert result.baseline == 0.5
    assert result.rewards == tuple(REWARDS)


def test_the_first_batch_leaves_each_trial_out_of_its_own_baseline():
    result = advantages(REWARDS, SOUND, "ema", None)
    others = [fmean(REWARDS[:i] + REWARDS[i + 1 :]) for i in range(5)]
    assert result.values == pytest.approx([r - b for r, b in zip(REWARDS, others, strict=True)])
    assert result.baseline == pytest.approx(fmean(REWARDS))
    assert advantages([0.7], [False], "ema", None).values == (0.0,)


def test_standardised():
    result = advantages(REWARDS, SOUND, "standardised", 123.0)
    assert result.values == pytest.approx([(r - fmean(REWARDS)) / pstdev(REWARDS) for r in REWARDS])
    assert fmean(result.values) == pytest.approx(0, abs=1e-12)
    assert pstdev(result.values) == pytest.approx(1)


def test_ranks():
    deviation = math.sqrt(2)
    expected = [-1 / deviation, 2 / deviation, -2 / deviation, 0, 1 / deviation]
    assert advantages(REWARDS, SOUND, "rank", 123.0).values == pytest.approx(expected)


def test_ranks_see_order_only():
    stretched = [math.exp(9 * r) for r in REWARDS]
    assert (
        advantages(stretched, SOUND, "rank", None).values == advantages(REWARDS, SOUND, "rank", None).values
    )


def test_ties_share_their_rank():
    one, two, three, four = advantages([1.0, 1.0, 5.0, 0.0], [False] * 4, "rank", None).values
    assert one == two == 0
    assert three == -four > 0


@pytest.mark.parametrize("mode", MODES)
def test_equal_rewards_say_nothing(mode):
    assert advantages([0.7] * 4, [False] * 4, mode, 0.7).values == pytest.approx([0] * 4, abs=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_tiny_differences_are_not_blown_up(mode):
    values = advantages([1e9, 1e9 + 1e-4], [False] * 2, mode, 1e9).values
    assert all(abs(v) <= 1 for v in values)


@pytest.mark.parametrize("mode", ["ema", "standardised"])
@pytest.mark.parametrize("average", [None, 0.5])
def test_the_floor_enters_at_three_deviations_below(mode, average):
    result = advantages([0.4, 0.6, -1e9], [False, False, True], mode, average)
    s = 1.0 if mode == "ema" else pstdev([0.4, 0.6])
    assert result.rewards == pytest.approx((0.4, 0.6, 0.5 - 3 * s))
    if mode == "standardised" or average is not None:
        assert result.values[2] == pytest.approx(-3)


def test_a_floor_that_is_near_enters_as_it_is():
    result = advantages([0.4, 0.6, 0.35], [False, False, True], "standardised", None)
    assert result.rewards == (0.4, 0.6, 0.35)
    assert result.values[2] == pytest.approx(-1.5)


def test_an_honest_low_reward_is_not_raised():
    assert advantages([0.4, 0.6, -1e3], [False] * 3, "ema", 0.5).rewards[2] == -1e3


@pytest.mark.parametrize("mode", MODES)
def test_advantages_rise_with_the_reward_and_never_fall_below_three_for_the_floor(mode):
    rng = random.Random(0)
    for _ in range(200):
        floored = [rng.random() < 0.3 for _ in range(16)]
        rewards = [-1e6 if low else rng.gauss(0, 0.1) for low in floored]
        result = advantages(rewards, floored, mode, 0.0)
        in_order = [a for _, a in sorted(zip(rewards, result.values, strict=True))]
        assert in_order == sorted(in_order)
        assert all(a >= -3 - 1e-9 for a, low in zip(result.values, floored, strict=True) if low)


def test_moving_average():
    assert moved(None, [1.0, 2.0], 0.9) == 1.5
    assert moved(1.0, [2.0, 0.0], 0.9) == pytest.approx((1.0 * 0.9 + 0.2) * 0.9)


@pytest.mark.parametrize("mode", MODES)
def test_rewards_that_overflow_are_an_error_that_says_so(mode):
    with pytest.raises(StudyError) as caught:
        advantages([1e308, 1e308, -1e308], [False] * 3, mode, None)
    assert str(caught.value) == (
        "the rewards from -1e+308 to 1e+308 are too large to learn from; scale the reward, "
        "return NaN for what diverges, and search in another directory"
    )
