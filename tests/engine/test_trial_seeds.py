import itertools
from collections import Counter

import pytest
from scipy.stats import binom

from autodropout.engine.trial_seeds import trial_seed

KINDS = ("search", "confirm", "compare")


def test_pinned():
    assert [trial_seed(0, kind, 1) for kind in KINDS] == [511792302, 807021570, 1165074254]


def test_no_two_trials_share_a_seed():
    seeds = [trial_seed(12, kind, number) for kind in KINDS for number in range(20_000)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0
    assert max(seeds) < 2**31


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_have_ranges_of_their_own(kind):
    ranges = {trial_seed(study, kind, number) >> 29 for study in range(50) for number in range(200)}
    assert ranges == {KINDS.index(kind)}


def test_studies_differ():
    assert len({trial_seed(study, "search", 1) for study in range(1000)}) > 990


@pytest.mark.parametrize("modulus", [2, 3, 5, 7, 10])
def test_remainders_are_spread_evenly(modulus):
    number = 10_000
    for kind in KINDS:
        counts = Counter(trial_seed(3, kind, i) % modulus for i in range(number))
        low, high = binom.interval(1 - 1e-6, number, 1 / modulus)
        assert len(counts) == modulus
        assert all(low <= count <= high for count in counts.values())


def test_neighbours_are_no_progression():
    seeds = [trial_seed(0, "search", i) for i in range(100)]
    assert len({second - first for first, second in itertools.pairwise(seeds)}) == 99
