import math

import numpy as np
import pytest
from scipy import stats

from autodropout.errors import UsageError
from autodropout.resampling import bootstrap_difference


def test_difference_is_the_difference_of_accuracies() -> None:
    result = bootstrap_difference([1, 1, 0, 1], [1, 0, 0, 0])
    assert (result.n, result.difference, result.draws) == (4, 0.5, 10_000)


def test_every_resample_of_two_examples() -> None:
    # Differences 0 and 1: a resample's mean is 0, 1/2 or 1 with probability 1/4, 1/2, 1/4.
    result = bootstrap_difference([0, 1], [0, 0], confidence=0.6)
    assert (result.low, result.high) == (0.0, 1.0)
    narrow = bootstrap_difference([0, 1], [0, 0], confidence=0.4)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_same_seed_same_interval() -> None:
    first, second = np.random.default_rng(0).integers(2, size=(2, 300))
    assert bootstrap_difference(first, second, seed=3) == bootstrap_difference(first, second, seed=3)
    assert bootstrap_difference(first, second, seed=3) != bootstrap_difference(first, second, seed=4)


def test_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random(400) < 0.8, rng.random(400) < 0.7
    result = bootstrap_difference(first, second, draws=20_000)
    expected = stats.bootstrap(
        (first.astype(float) - second,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    assert (result.low, result.high) == (
        pytest.approx(expected.low, abs=5e-3),
        pytest.approx(expected.high, abs=5e-3),
    )


def test_pairing_narrows_the_interval() -> None:
    right = np.random.default_rng(0).random(1000) < 0.5
    improved = right.copy()
    improved[:20] = True
    result = bootstrap_difference(improved, right)
    assert result.high - result.low < 0.02 < 0.08


def test_runs_are_averaged_first() -> None:
    runs = [[1, 0, 1], [1, 1, 0]]
    assert bootstrap_difference(runs, [0, 0, 0]) == bootstrap_difference([1, 0.5, 0.5], [0, 0, 0])


def test_many_examples_are_resampled_in_pieces() -> None:
    first = np.random.default_rng(0).random(30_000)
    result = bootstrap_difference(first, np.zeros(30_000), draws=200)
    assert result.low < result.difference < result.high


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ([1, 0], [1], "first scores 2 test examples and second 1; give the same ones"),
        ([], [], r"first has shape \(0,\); expected \(examples,\) or \(runs, examples\)"),
        ([1.0], [math.nan], "second has a NaN or infinite score; every test example needs a number"),
    ],
)
def test_refuses(first: list[float], second: list[float], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        bootstrap_difference(first, second)


def test_refuses_too_few_draws() -> None:
    with pytest.raises(UsageError, match="draws is 10; percentiles need at least 100 resamples"):
        bootstrap_difference([1], [0], draws=10)
