"""The promise: about half the sites off, and where a site is on, a median drop rate from .03 to .15."""

import math
from itertools import product

import pytest

from autodropout.conv_space import ConvSpace
from autodropout.policy import ROLES
from autodropout.tilt import tilted
from autodropout.token_space import TokenSpace

MAPS = [(1, 1), (2, 2), (3, 3), (4, 4), (7, 7), (8, 8), (14, 14), (28, 28), (32, 32), (112, 112), (224, 224)]
OBLONG = [(1, 8), (8, 1), (2, 7), (5, 17), (32, 128)]


def median_rate(space, rate_of):
    """Exact median of the drop rate over all combinations at the only site, given that it is on."""
    size, *others = space.choices
    share_on = 1.0 - size.prior[0]
    sized = [(t, p / share_on) for t, p in enumerate(size.prior) if t > 0]
    free = ("share_c", "share_t", "residual")  # these move no rate
    rests = [[(0, 1.0)] if c.name in free else list(enumerate(c.prior)) for c in others]
    pairs = []
    for combination in product(sized, *rests):
        policy = space.decode([token for token, _ in combination])
        pairs.append((rate_of(policy.sites[size.site]), math.prod(p for _, p in combination)))
    assert sum(p for _, p in pairs) == pytest.approx(1.0)
    seen = 0.0
    for rate, probability in sorted(pairs):
        seen += probability
        if seen >= 0.5:
            return rate
    raise AssertionError("probabilities sum to less than one half")


def conv_median(size, **options):
    space = ConvSpace(sites={"site": size}, shears=(-0.4, 0.0, 0.4), **options)
    return median_rate(space, lambda pattern: pattern.drop_rate(*size))


@pytest.mark.parametrize("size", MAPS + OBLONG, ids=str)
def test_conv_sites_start_gently_on_maps_of_any_size(size):
    assert 0.03 <= conv_median(size) <= 0.15


@pytest.mark.slow
@pytest.mark.parametrize("side", range(1, 65))
def test_conv_sites_start_gently_on_every_small_map(side):
    for size in ((side, side), (side, 2 * side), (1, side)):
        assert 0.03 <= conv_median(size) <= 0.15


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"rates": (0.1, 0.3, 1.0)}, {"rectangles": True}], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (8, 5), (32, 32), (224, 224)], ids=str)
def test_conv_sites_start_gently_with_every_option(size, options):
    assert 0.03 <= conv_median(size, **options) <= 0.15


@pytest.mark.parametrize("role", ROLES)
def test_token_sites_start_gently_at_every_role(role):
    space = TokenSpace(sites=(role,))
    assert 0.03 <= median_rate(space, lambda pattern: pattern.drop_rate()) <= 0.15


@pytest.mark.parametrize("off", [0.25, 0.5, 0.9])
def test_the_share_of_sites_that_are_off_is_as_asked(off):
    conv = ConvSpace(sites={"a": (8, 8), "b": (1, 1)}, off=off)
    token = TokenSpace(sites=ROLES, off=off)
    for space in (conv, token):
        sizes = [c for c, parent in zip(space.choices, space.parents, strict=True) if parent is None]
        assert [c.prior[0] for c in sizes] == [off] * len(sizes)


def test_about_half_the_sites_are_off_by_default():
    assert ConvSpace(sites={"a": (8, 8)}).off == TokenSpace(sites=("ffn",)).off == 0.5


def test_nothing_is_tilted_where_uniform_is_gentle():
    assert tilted([3], lambda tokens: [(0.01, 0.07, 0.5)[tokens[0]]]) == (pytest.approx((1 / 3,) * 3),)


def test_strong_values_are_made_rarer_and_weak_ones_likelier():
    strong, weak = (0.05, 0.2, 0.3, 0.4), (0.001, 0.002, 0.003, 0.1)
    for rates, gentle in ((strong, 0), (weak, 3)):
        (weights,) = tilted([4], lambda tokens, rates=rates: [rates[tokens[0]]])
        assert sum(weights) == pytest.approx(1.0)
        assert weights[gentle] >= 0.5 - 1e-6
        assert weights == tuple(sorted(weights, reverse=gentle == 0))


def test_the_tilt_is_the_smallest_that_reaches_the_band():
    (weights,) = tilted([2], lambda tokens: [(0.1, 0.4)[tokens[0]]])
    assert weights == pytest.approx((0.5, 0.5), abs=1e-4)


def test_a_choice_without_effect_stays_uniform():
    _, free = tilted([2, 3], lambda tokens: [(0.3, 0.05)[tokens[0]]])
    assert free == pytest.approx((1 / 3,) * 3)
