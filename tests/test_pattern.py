import copy
import dataclasses
import math
import pickle
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodropout import geometry
from autodropout.errors import PatternError
from autodropout.pattern import ConvPattern, TokenPattern
from strategies import CONV_PATTERNS, TOKEN_PATTERNS

LARGEST = 2**30
WHOLE_NUMBER = f'expected a whole number from 0 to {LARGEST}, or "whole"'

BAD_CONV = [
    ({"height": -1}, f"height is -1; {WHOLE_NUMBER}"),
    ({"height": 2.0}, f"height is 2.0; {WHOLE_NUMBER}"),
    ({"height": True}, f"height is True; {WHOLE_NUMBER}"),
    ({"height": None}, f"height is None; {WHOLE_NUMBER}"),
    ({"height": LARGEST + 1}, f"height is {LARGEST + 1}; {WHOLE_NUMBER}"),
    ({"width": "all"}, f"width is 'all'; {WHOLE_NUMBER}"),
    ({"stride": -1}, f"stride is -1; expected a whole number from 0 to {LARGEST}"),
    ({"stride": "whole"}, f"stride is 'whole'; expected a whole number from 0 to {LARGEST}"),
    ({"repeat": 0}, f'repeat is 0; expected a whole number from 1 to {LARGEST}, or "fill"'),
    ({"repeat": "full"}, f"repeat is 'full'; expected a whole number from 1 to {LARGEST}, or \"fill\""),
    ({"rotate": math.nan}, "rotate is nan; expected a finite number"),
    ({"rotate": "30"}, "rotate is '30'; expected a finite number"),
    ({"rotate": 10**400}, f"rotate is {10**400}; expected a finite number"),
    ({"shear_x": math.inf}, "shear_x is inf; expected a finite number"),
    ({"shear_x": True}, "shear_x is True; expected a finite number"),
    ({"shear_y": -1e7}, "shear_y is -10000000.0; expected a number from -1000000 to 1000000"),
    ({"share_c": 1}, "share_c is 1; expected True or False"),
    ({"residual": "no"}, "residual is 'no'; expected True or False"),
    ({"rate": 1.1}, "rate is 1.1; expected a probability between 0 and 1"),
    ({"rate": -0.1}, "rate is -0.1; expected a probability between 0 and 1"),
    ({"rate": math.nan}, "rate is nan; expected a finite number"),
]
BAD_TOKEN = [
    ({"size": -2}, f"size is -2; {WHOLE_NUMBER}"),
    ({"size": "fill"}, f"size is 'fill'; {WHOLE_NUMBER}"),
    ({"stride": 0.5}, f"stride is 0.5; expected a whole number from 0 to {LARGEST}"),
    ({"share_t": None}, "share_t is None; expected True or False"),
    ({"share_c": 0}, "share_c is 0; expected True or False"),
    ({"rate": 2}, "rate is 2; expected a probability between 0 and 1"),
]


@pytest.mark.parametrize(("bad", "text"), BAD_CONV)
def test_an_invalid_conv_pattern_cannot_be_built(bad, text):
    with pytest.raises(PatternError) as caught:
        ConvPattern(**{"height": 3, "width": 3} | bad)
    assert str(caught.value) == text


@pytest.mark.parametrize(("bad", "text"), BAD_TOKEN)
def test_an_invalid_token_pattern_cannot_be_built(bad, text):
    with pytest.raises(PatternError) as caught:
        TokenPattern(**{"size": 3} | bad)
    assert str(caught.value) == text


def test_patterns_are_frozen_slotted_and_keyword_only():
    pattern = ConvPattern(height=1, width=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        pattern.height = 2
    with pytest.raises((AttributeError, TypeError)):
        pattern.unknown = 2
    with pytest.raises(TypeError):
        ConvPattern(1, 1)
    with pytest.raises(TypeError):
        TokenPattern(1)


def test_defaults_are_the_plain_pattern():
    assert ConvPattern(height=3, width=2) == ConvPattern(
        height=3,
        width=2,
        stride=0,
        repeat=1,
        rotate=0.0,
        shear_x=0.0,
        shear_y=0.0,
        share_c=True,
        residual=False,
        rate=1.0,
    )
    assert TokenPattern(size=3) == TokenPattern(size=3, stride=0, share_t=False, share_c=False, rate=0.1)


@given(st.one_of(CONV_PATTERNS, TOKEN_PATTERNS))
def test_patterns_survive_pickle_and_deepcopy(pattern):
    for twin in (pickle.loads(pickle.dumps(pattern)), copy.deepcopy(pattern)):
        assert twin == pattern
        assert hash(twin) == hash(pattern)


def test_whole_numbers_become_floats_where_floats_are_meant():
    pattern = ConvPattern(height=1, width=1, rotate=30, shear_x=-0.0, rate=1)
    assert repr(pattern.rotate) == "30.0"
    assert repr(pattern.shear_x) == "0.0"
    assert repr(pattern.rate) == "1.0"
    assert ConvPattern(height=1, width=1, rate=np.float64(0.25)).rate == 0.25


@pytest.mark.parametrize(
    "pattern",
    [
        ConvPattern(height=0, width=3),
        ConvPattern(height=3, width=0),
        ConvPattern(height=0, width="whole"),
        ConvPattern(height="whole", width="whole", rate=0.0),
    ],
)
def test_conv_off(pattern):
    assert pattern.off
    assert pattern.drop_rate(7, 7) == 0.0


def test_token_off():
    assert TokenPattern(size=0).off
    assert TokenPattern(size="whole", rate=0.0).off
    assert TokenPattern(size=0, rate=0.5).drop_rate() == 0.0
    assert not TokenPattern(size=1, rate=0.5).off


def offsets(pattern, axis, smallest, largest):
    """Every offset of one axis, from DESIGN's words: all placements that touch the box, or one period."""
    size = (pattern.height, pattern.width)[axis]
    if size == "whole":
        return [0]
    if pattern.repeat == "fill":
        return range(size + pattern.stride)
    extent = pattern.repeat * size + (pattern.repeat - 1) * pattern.stride
    return [o for o in range(smallest - extent - 9, largest + 10) if o + extent > smallest and o <= largest]


def inside(pattern, axis, distance):
    size, period = (pattern.height, pattern.width)[axis], None
    if size == "whole":
        return True
    period = size + pattern.stride
    if pattern.repeat == "fill":
        return distance % period < size
    return any(n * period <= distance < n * period + size for n in range(pattern.repeat))


def enumerated(pattern, height, width):
    """For every pixel the exact share of offsets that drop it, counted one by one."""
    tables = geometry.source_table(height, width, pattern.rotate, pattern.shear_x, pattern.shear_y)
    counts = []
    for axis, table in enumerate(tables):
        every = offsets(pattern, axis, min(table), max(table))
        counts.append([Fraction(sum(inside(pattern, axis, s - o) for o in every), len(every)) for s in table])
    return [row * column for row, column in zip(*counts, strict=True)]


ENUMERABLE = st.builds(
    ConvPattern,
    height=st.one_of(st.just("whole"), st.integers(1, 6)),
    width=st.one_of(st.just("whole"), st.integers(1, 6)),
    stride=st.integers(0, 4),
    repeat=st.one_of(st.just("fill"), st.integers(1, 4)),
    rotate=st.sampled_from([0.0, 15.0, 45.0, 90.0, 270.0, -20.0]),
    shear_x=st.sampled_from([-0.4, 0.0, 0.2]),
    shear_y=st.sampled_from([-0.4, 0.0, 0.4]),
    rate=st.sampled_from([1.0, 0.3]),
)


@given(ENUMERABLE, st.integers(1, 9), st.integers(1, 9))
def test_drop_rate_is_what_enumeration_counts_at_every_pixel(pattern, height, width):
    shares = enumerated(pattern, height, width)
    assert len(set(shares)) == 1
    assert math.isclose(pattern.drop_rate(height, width), pattern.rate * float(shares[0]), rel_tol=1e-12)


def test_drop_rate_by_hand():
    # R = 32 and E = 2 * 3 + 2 = 8 along both axes: (6 / 39)^2 is the chance that a pixel is under a tile.
    assert ConvPattern(height=3, width=3, stride=2, repeat=2).drop_rate(32, 32) == (6 / 39) ** 2
    assert ConvPattern(height=1, width=1).drop_rate(4, 8) == 1 / 32
    assert ConvPattern(height="whole", width=1).drop_rate(4, 8) == 1 / 8
    assert ConvPattern(height="whole", width="whole", rate=0.2).drop_rate(4, 8) == 0.2
    assert ConvPattern(height=1, width=2, stride=3, repeat="fill").drop_rate(4, 8) == (1 / 4) * (2 / 5)
    assert ConvPattern(height=9, width=9).drop_rate(1, 1) == 1.0
    assert TokenPattern(size=2, stride=1, rate=0.3).drop_rate() == 0.3 * 2 / 3
    assert TokenPattern(size="whole", stride=5, rate=0.3).drop_rate() == 0.3


@pytest.mark.parametrize(("height", "width"), list(product([1, 2, 7], [1, 3, 8])))
def test_drop_rate_of_a_full_turn_is_that_of_none(height, width):
    rates = {
        ConvPattern(height=2, width=1, stride=1, repeat=2, rotate=rotate).drop_rate(height, width)
        for rotate in (0.0, 360.0, -360.0)
    }
    assert len(rates) == 1


def test_the_largest_numbers_still_have_a_rate():
    pattern = ConvPattern(
        height=LARGEST, width=LARGEST, stride=LARGEST, repeat=LARGEST, shear_x=1e6, shear_y=1e6
    )
    assert 0.0 < pattern.drop_rate(224, 224) < 1.0


@pytest.mark.parametrize(
    ("height", "width", "name"), [(0, 5, "height"), (5, 2.0, "width"), (-1, 1, "height")]
)
def test_drop_rate_refuses_a_map_that_is_none(height, width, name):
    with pytest.raises(PatternError, match=f"map {name} is .*; expected a whole number from 1 to {LARGEST}"):
        ConvPattern(height=1, width=1).drop_rate(height, width)


def test_scaled_grows_sizes_and_strides_and_nothing_else():
    pattern = ConvPattern(height=3, width=0, stride=1, repeat=2, rotate=15.0, shear_x=0.2, rate=0.5)
    assert pattern.scaled(1.5) == dataclasses.replace(pattern, height=5, stride=2)
    assert pattern.scaled(0.1) == dataclasses.replace(pattern, height=1, stride=1)
    whole = ConvPattern(height="whole", width="whole", stride=0)
    assert whole.scaled(3.0) == whole
    token = TokenPattern(size=4, stride=8, share_t=True, rate=0.2)
    assert token.scaled(2) == dataclasses.replace(token, size=8, stride=16)
    assert TokenPattern(size="whole", stride=0).scaled(0.5) == TokenPattern(size="whole", stride=0)
    assert TokenPattern(size=0, stride=1).scaled(9.0) == TokenPattern(size=0, stride=9)
    assert TokenPattern(size=4).scaled(1e308).size == LARGEST


@given(st.one_of(CONV_PATTERNS, TOKEN_PATTERNS))
def test_scaling_by_one_is_no_change(pattern):
    assert pattern.scaled(1.0) == pattern


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_scaled_refuses_a_factor_that_is_not_positive(factor):
    for pattern in (ConvPattern(height=1, width=1), TokenPattern(size=1)):
        with pytest.raises(PatternError, match=f"factor is {factor}; expected a positive number"):
            pattern.scaled(factor)


@pytest.mark.parametrize("factor", [math.nan, math.inf, "2", None])
def test_scaled_refuses_a_factor_that_is_no_number(factor):
    with pytest.raises(PatternError, match=f"factor is {factor!r}; expected a finite number"):
        TokenPattern(size=1).scaled(factor)
