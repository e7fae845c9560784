import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autodropout.errors import UsageError
from autodropout.significance import (
    holm,
    paired_difference,
    power,
    seed_residual,
    seeds_needed,
    shared_seeds,
    summarise,
)

FIRST = (0.912, 0.933, 0.905, 0.941, 0.920)
SECOND = (0.900, 0.925, 0.911, 0.930, 0.902)
ARMS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12)


def test_summary_by_hand() -> None:
    # 1, 2, 3, 4: mean 2.5, squares 2.25 + .25 + .25 + 2.25 = 5, spread sqrt(5 / 3), t(.975, 3) = 3.182446
    summary = summarise([1.0, 2.0, 3.0, 4.0])
    margin = 3.182446305284263 * math.sqrt(5 / 3) / 2
    assert (summary.n, summary.mean) == (4, 2.5)
    assert summary.spread == pytest.approx(math.sqrt(5 / 3))
    assert summary.low == pytest.approx(2.5 - margin)
    assert summary.high == pytest.approx(2.5 + margin)
    assert summary.confidence == 0.95


def test_summary_agrees_with_scipy() -> None:
    summary = summarise(FIRST, confidence=0.9)
    low, high = stats.t.interval(0.9, 4, loc=np.mean(FIRST), scale=stats.sem(FIRST))
    assert (summary.low, summary.high) == (pytest.approx(low), pytest.approx(high))


def test_interval_covers_as_often_as_it_says() -> None:
    rng, draws = np.random.default_rng(0), 4000
    summaries = [summarise(rng.normal(3.0, 2.0, size=5)) for _ in range(draws)]
    covered = sum(s.low <= 3.0 <= s.high for s in summaries)
    low, high = stats.binom.ppf([5e-7, 1 - 5e-7], draws, 0.95)
    assert low <= covered <= high


def test_one_run_has_no_spread() -> None:
    summary = summarise([0.9])
    assert (summary.n, summary.mean, summary.spread, summary.low, summary.high) == (1, 0.9, None, None, None)


def test_equal_runs_have_spread_zero() -> None:
    summary = summarise([0.1] * 3)
    assert (summary.spread, summary.low, summary.high) == (0.0, summary.mean, summary.mean)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], r"values has shape \(0,\); expected one number per run, at least one"),
        ([[1.0]], r"values has shape \(1, 1\)"),
        ([0.5, math.nan, math.inf], "values has 2 NaN or infinite of 3; a diverged run has no figure"),
    ],
)
def test_summary_refuses(values: list[float], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        summarise(values)


def test_confidence_out_of_range() -> None:
    with pytest.raises(UsageError, match=r"confidence is 95; expected a number between 0 and 1"):
        summarise([0.1, 0.2], confidence=95)


def test_paired_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, spread 1, t = 2 sqrt(3) = 3.4641, and for 2 degrees of freedom
    # P(|T| > t) = 1 - t / sqrt(2 + t^2) = 1 - 3.4641 / sqrt(14)
    paired = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    margin = 4.302652729696142 / math.sqrt(3)
    assert (paired.n, paired.difference, paired.spread) == (3, 2.0, 1.0)
    assert paired.p == pytest.approx(1 - 2 * math.sqrt(3) / math.sqrt(14))
    assert (paired.low, paired.high) == (pytest.approx(2 - margin), pytest.approx(2 + margin))


@given(ARMS)
def test_paired_agrees_with_scipy(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    paired = paired_difference(first, second)
    if paired.spread is not None and paired.spread > 1e-6:
        expected = stats.ttest_rel(first, second)
        interval = expected.confidence_interval(0.95)
        assert paired.p == pytest.approx(expected.pvalue, rel=1e-6)
        assert (paired.low, paired.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


@given(ARMS)
def test_paired_is_antisymmetric(pairs: list[tuple[float, float]]) -> None:
    first, second = zip(*pairs, strict=True)
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert one.difference == -other.difference
    assert one.p == other.p


def test_paired_test_finds_what_an_unpaired_one_misses() -> None:
    luck = np.random.default_rng(1).normal(size=10)
    gain = 0.1 + 0.02 * np.random.default_rng(2).normal(size=10)
    paired = paired_difference(luck + gain, luck)
    assert paired.p is not None
    assert paired.p < 1e-4 < 0.5 < stats.ttest_ind(luck + gain, luck).pvalue


def test_false_alarms_are_as_rare_as_alpha() -> None:
    rng, draws = np.random.default_rng(3), 4000
    p_values = [paired_difference(rng.normal(size=6), rng.normal(size=6)).p for _ in range(draws)]
    alarms = sum(p is not None and p <= 0.05 for p in p_values)
    low, high = stats.binom.ppf([5e-7, 1 - 5e-7], draws, 0.05)
    assert low <= alarms <= high


def test_one_pair_has_no_test() -> None:
    paired = paired_difference([0.9], [0.8])
    assert paired.difference == pytest.approx(0.1)
    assert (paired.spread, paired.low, paired.high, paired.p) == (None, None, None, None)


def test_equal_arms_have_p_one() -> None:
    paired = paired_difference(FIRST, FIRST)
    assert (paired.difference, paired.spread, paired.low, paired.high, paired.p) == (0.0, 0.0, 0.0, 0.0, 1.0)


def test_a_constant_difference_has_no_test() -> None:
    # In float64 these differences are not quite equal: .3 - .2 is 4e-17 short of .2 - .1.
    paired = paired_difference([0.2, 0.3, 0.9], [0.1, 0.2, 0.8])
    assert paired.difference == pytest.approx(0.1)
    assert (paired.spread, paired.p) == (0.0, None)


def test_pairs_need_equal_length() -> None:
    with pytest.raises(UsageError, match="first has 2 runs and second 1; pairs need one run per seed"):
        paired_difference([1.0, 2.0], [1.0])


def test_pairs_refuse_nan() -> None:
    with pytest.raises(UsageError, match="second has 1 NaN or infinite of 2"):
        paired_difference([1.0, 2.0], [1.0, math.nan])


def test_holm_by_hand() -> None:
    # Sorted .01, .02, .03, .04 times 4, 3, 2, 1: .04, .06, .06, .04, made monotone: .04, .06, .06, .06
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx((0.06, 0.04, 0.06, 0.06))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_leaves_tests_out_that_were_not_made() -> None:
    assert holm([None, 0.02, None, 0.01]) == (None, 0.02, None, 0.02)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_agrees_with_its_definition(p_values: list[float]) -> None:
    """The smallest level at which the step-down procedure rejects each hypothesis."""
    adjusted = holm(p_values)
    for p, result in zip(p_values, adjusted, strict=True):
        at_or_below = sorted(q for q in p_values if q <= p)
        expected = max(min(1.0, (len(p_values) - i) * q) for i, q in enumerate(at_or_below))
        assert result == pytest.approx(expected)
        assert result is not None
        assert result >= p


def test_holm_refuses_what_is_no_probability() -> None:
    with pytest.raises(UsageError, match=r"p-value 1\.5 is not between 0 and 1"):
        holm([0.1, 1.5])
    with pytest.raises(UsageError, match="p-value nan is not between 0 and 1"):
        holm([math.nan])


@pytest.mark.parametrize("effect", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("n", [2, 5, 30])
def test_power_agrees_with_scipy(effect: float, n: int) -> None:
    critical = stats.t.ppf(0.975, n - 1)
    distribution = stats.nct(n - 1, effect * math.sqrt(n))
    far = np.nan_to_num(distribution.cdf(-critical))  # scipy has NaN for some tails that are 0
    assert power(effect, n) == pytest.approx(distribution.sf(critical) + far, abs=1e-5)


def test_power_agrees_with_simulation() -> None:
    rng, draws = np.random.default_rng(4), 4000
    p_values = [paired_difference(rng.normal(0.9, 1, size=8), np.zeros(8)).p for _ in range(draws)]
    found = sum(p is not None and p <= 0.05 for p in p_values)
    low, high = stats.binom.ppf([5e-7, 1 - 5e-7], draws, power(0.9, 8))
    assert low <= found <= high


def test_power_of_no_effect_is_alpha() -> None:
    assert power(0.0, 10, alpha=0.01) == pytest.approx(0.01, abs=1e-5)


def test_power_ignores_the_sign() -> None:
    assert power(-0.7, 9) == power(0.7, 9)


@pytest.mark.parametrize("n", [2, 5, 1000])
def test_power_of_an_enormous_effect_is_one(n: int) -> None:
    assert power(1e9, n) == pytest.approx(1.0)


# Cohen's and G*Power's table for the paired t test, two-sided, level .05, power .8.
@pytest.mark.parametrize(("effect", "n"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (2.0, 5)])
def test_seeds_needed_known_values(effect: float, n: int) -> None:
    assert seeds_needed(effect, 1.0) == n
    assert seeds_needed(-0.001 * effect, 0.001) == n


@given(st.floats(0.05, 50), st.floats(0.5, 0.95))
def test_seeds_needed_is_the_smallest(effect: float, target: float) -> None:
    n = seeds_needed(effect, 1.0, target=target)
    assert n is not None
    assert power(effect, n) >= target
    assert n == 2 or power(effect, n - 1) < target


def test_seeds_needed_for_a_tiny_difference_is_quick() -> None:
    n = seeds_needed(1e-5, 1.0)
    assert n is not None
    assert n == pytest.approx((1.959964 + 0.841621) ** 2 * 1e10, rel=1e-4)


def test_seeds_needed_at_the_edges() -> None:
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(0.0, 0.0) is None
    assert seeds_needed(0.1, 0.0) == 2


def test_power_and_seeds_refuse() -> None:
    with pytest.raises(UsageError, match="n is 1; a paired test needs at least 2 seeds"):
        power(1.0, 1)
    with pytest.raises(UsageError, match="effect is nan; expected a finite number"):
        power(math.nan, 3)
    with pytest.raises(UsageError, match=r"spread is -1\.0; a standard deviation is at least 0"):
        seeds_needed(1.0, -1.0)
    with pytest.raises(UsageError, match=r"target is 1\.0; expected a number between 0 and 1"):
        seeds_needed(1.0, 1.0, target=1.0)


class TestSeedResidual:
    def test_a_table_of_policy_and_seed_leaves_nothing(self):
        squares, degrees = seed_residual([[1.0, 2.0, 5.0], [3.0, 4.0, 7.0]])
        assert squares == pytest.approx(0.0, abs=1e-12)
        assert degrees == 2

    def test_it_is_the_sum_over_the_table(self):
        table = np.random.default_rng(0).normal(size=(4, 3))
        means = table.mean(1), table.mean(0), table.mean()
        expected = sum(
            (table[p, s] - means[0][p] - means[1][s] + means[2]) ** 2 for p in range(4) for s in range(3)
        )
        assert seed_residual(table) == (pytest.approx(expected), 6)

    def test_the_table_has_the_policies_with_every_seed(self):
        rewards = {"a": {7: 1.0, 3: 2.0}, "b": {3: 4.0}, "c": {3: 5.0, 7: 6.0}}
        assert shared_seeds(rewards) == [[2.0, 1.0], [5.0, 6.0]]
        assert shared_seeds({}) == []
        assert shared_seeds({"a": {1: 1.0}, "b": {2: 1.0}}) == []
