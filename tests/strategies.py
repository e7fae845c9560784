"""Hypothesis strategies for patterns and policies."""

from hypothesis import strategies as st

from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import ROLES, SCHEDULES, Policy

SIZES = st.one_of(st.just("whole"), st.integers(0, 9))
RATES = st.floats(0.0, 1.0)
CONV_PATTERNS = st.builds(
    ConvPattern,
    height=SIZES,
    width=SIZES,
    stride=st.integers(0, 5),
    repeat=st.one_of(st.just("fill"), st.integers(1, 4)),
    rotate=st.floats(-400.0, 400.0),
    shear_x=st.floats(-1.0, 1.0),
    shear_y=st.floats(-1.0, 1.0),
    share_c=st.booleans(),
    residual=st.booleans(),
    rate=RATES,
)
TOKEN_PATTERNS = st.builds(
    TokenPattern,
    size=SIZES,
    stride=st.integers(0, 9),
    share_t=st.booleans(),
    share_c=st.booleans(),
    rate=RATES,
)
KEYS = st.one_of(
    st.sampled_from([f"role:{role}" for role in ROLES]),
    st.from_regex(r"[a-z0-9_*?]{1,6}(\.[a-zé0-9_*]{1,4}){0,3}", fullmatch=True),
)
POLICIES = st.builds(
    Policy,
    st.dictionaries(KEYS, st.one_of(CONV_PATTERNS, TOKEN_PATTERNS), max_size=4),
    st.sampled_from(SCHEDULES),
)
