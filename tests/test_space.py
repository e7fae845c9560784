import copy
import pickle
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from autodropout.conv_space import ConvSpace
from autodropout.errors import SpaceError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import ROLES, SCHEDULES, Policy
from autodropout.space import PAD, Choice, merged, token_of
from autodropout.token_space import TokenSpace

SITES = {"layer1.*.bn2": (32, 32), "layer2.*.bn2": (8, 5), "head": (1, 1)}
CONV = ConvSpace(sites=SITES)
TOKEN = TokenSpace.wide(ROLES)
STANDARD = TokenSpace(sites=ROLES)
SPACES = {
    "conv": CONV,
    "conv-rates": ConvSpace(sites=SITES, rates=(0.1, 0.5, 1.0)),
    "conv-rectangles": ConvSpace(sites=SITES, rectangles=True, residual=("head",), schedule=True),
    "conv-all": ConvSpace(sites={"a": (7, 3)}, rates=(0.5,), rectangles=True, residual=()),
    "token": STANDARD,
    "token-wide": TOKEN,
    "token-schedule": TokenSpace(sites=("query", "encoder.0"), schedule=True, off=0.3),
}


@pytest.fixture(params=SPACES, scope="module")
def space(request):
    return SPACES[request.param]


def tokens_of(space):
    return st.tuples(*(st.integers(0, n - 1) for n in space.cardinalities))


@given(st.data())
def test_encode_inverts_decode(space, data):
    tokens = data.draw(tokens_of(space))
    policy = space.decode(tokens)
    canonical = space.encode(policy)
    assert space.decode(canonical) == policy
    assert space.encode(space.decode(canonical)) == canonical
    assert all(c <= t for c, t in zip(canonical, tokens, strict=True)), "the canonical form is the lowest"
    assert all(c == PAD for c, live in zip(canonical, space.live(canonical), strict=True) if not live)


@given(st.data())
def test_tokens_at_dead_positions_mean_nothing(space, data):
    tokens = data.draw(tokens_of(space))
    padded = tuple(t if live else PAD for t, live in zip(tokens, space.live(tokens), strict=True))
    assert space.decode(tokens) == space.decode(padded)


@given(st.integers(0, 2**32), st.booleans())
def test_samples_are_valid_and_padded(space, seed, biased):
    tokens = space.sample(random.Random(seed), biased=biased)
    assert len(tokens) == len(space)
    assert all(0 <= t < n for t, n in zip(tokens, space.cardinalities, strict=True))
    assert all(t == PAD for t, live in zip(tokens, space.live(tokens), strict=True) if not live)
    policy = space.decode(tokens)
    assert set(policy.sites) == {
        c.site
        for c, t, p in zip(space.choices, tokens, space.parents, strict=True)
        if p is None and t and c.site
    }
    assert not any(pattern.off for pattern in policy.sites.values())


def test_samples_come_from_any_source_of_randomness(space):
    assert space.sample(random.Random(3)) == space.sample(random.Random(3))
    assert len(space.sample(np.random.default_rng(3))) == len(space)


def test_sampled_values_have_the_stated_frequencies(space):
    draws, rng = 3000, random.Random(0)
    for biased in (False, True):
        samples = [space.sample(rng, biased=biased) for _ in range(draws)]
        for position, (choice, parent) in enumerate(zip(space.choices, space.parents, strict=True)):
            alive = [s[position] for s in samples if parent is None or s[parent] != 0]
            counts = Counter(alive)
            for token, prior in enumerate(choice.prior):
                share = prior if biased else 1 / len(choice.values)
                low, high = binom.ppf([0.5e-6, 1 - 0.5e-6], len(alive), share)
                assert low <= counts[token] <= high


def test_choices_are_well_formed(space):
    assert len(space) == len(space.choices) == len(space.cardinalities) == len(space.parents)
    for choice, parent in zip(space.choices, space.parents, strict=True):
        assert len(choice.values) == len(choice.prior) >= 1
        assert sum(choice.prior) == pytest.approx(1.0)
        assert min(choice.prior) > 0.0
        assert len(merged(choice.values)) == len(choice.values)
        if parent is None and choice.site:
            assert choice.values[0] == 0, "the first choice of a site is its size, and that is off at first"
            assert choice.prior[0] == space.off
        elif parent is not None:
            assert space.choices[parent].site == choice.site


def test_pickle_and_deepcopy(space):
    for twin in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space)):
        assert twin == space
        assert hash(twin) == hash(space)
        assert twin.key == space.key
        assert twin.choices == space.choices


def test_the_all_off_policy_is_all_padding(space):
    off = space.encode(Policy({}))
    assert off == (PAD,) * len(space)
    assert space.decode(off) == Policy({})


def test_a_pattern_that_is_off_is_the_site_left_out():
    assert CONV.encode(Policy({"head": ConvPattern(height=0, width=0)})) == (PAD,) * len(CONV)
    assert TOKEN.encode(Policy({"role:key": TokenPattern(size=0)})) == (PAD,) * len(TOKEN)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ((), "got 0 tokens; the space has 24 decisions"),
        ((0,) * 25, "got 25 tokens; the space has 24 decisions"),
        ((6, *(0,) * 23), "token 0 (size of 'layer1.*.bn2') is 6; expected 0 to 5"),
        ((*(0,) * 22, 2, 0), "token 22 (share_c of 'head') is 2; expected 0 to 1"),
        ((-1, *(0,) * 23), "token 0 (size of 'layer1.*.bn2') is -1; expected 0 to 5"),
        ((0.0,) * 24, f"tokens are {(0.0,) * 24!r}; expected a sequence of whole numbers"),
        (3, "tokens are 3; expected a sequence of whole numbers"),
    ],
)
def test_decode_refuses_bad_tokens(tokens, text):
    with pytest.raises(SpaceError) as caught:
        CONV.decode(tokens)
    assert str(caught.value) == text


def test_decode_takes_any_whole_numbers():
    tokens = CONV.sample(random.Random(1))
    assert CONV.decode(np.array(tokens)) == CONV.decode(tokens)


@pytest.mark.parametrize(
    ("space_", "policy", "text"),
    [
        (CONV, Policy({"x": ConvPattern(height=1, width=1)}), "the space has no site ['x']; it has ["),
        (CONV, Policy({"head": TokenPattern(size=1)}), "'head' has a TokenPattern; this is a space of ConvP"),
        (
            CONV,
            Policy({"head": ConvPattern(height=1, width="whole")}),
            "'head' has a 1 x whole tile; this sp",
        ),
        (CONV, Policy({"head": ConvPattern(height=1, width=1, rate=0.5)}), "'head' has rate 0.5; in this sp"),
        (CONV, Policy({"head": ConvPattern(height=2, width=2)}), "'head' has size 2, which is not in the sp"),
        (
            CONV,
            Policy({"layer1.*.bn2": ConvPattern(height=4, width=4, stride=3)}),
            "'layer1.*.bn2' has stride 3 at a tile of 4 x 4; the space has [0.5, 1.0, 2.0, 4.0] times the ",
        ),
        (
            CONV,
            Policy({"head": ConvPattern(height=1, width=1, stride=1, rotate=10.0)}),
            "'head' has rotate 10.0, which is not in the space: [0.0, 15.0, 30.0, 45.0, 60.0, 75.0]",
        ),
        (CONV, Policy({}, "ramp"), "the space does not search schedules; the policy's is 'ramp'"),
        (
            TOKEN,
            Policy({"role:key": ConvPattern(height=1, width=1)}),
            "'role:key' has a ConvPattern; this is",
        ),
        (TOKEN, Policy({"role:key": TokenPattern(size=3)}), "'role:key' has size 3, which is not in the spa"),
        (
            SPACES["conv-rectangles"],
            Policy({"layer1.*.bn2": ConvPattern(height=1, width=1, stride=1, residual=True)}),
            "'layer1.*.bn2' has residual True, which is not in the space: [False]",
        ),
    ],
)
def test_encode_refuses_what_the_space_does_not_have(space_, policy, text):
    with pytest.raises(SpaceError) as caught:
        space_.encode(policy)
    assert str(caught.value).startswith(text)


def test_the_standard_conv_space():
    assert len(CONV) == 3 * 8
    names = ["size", "stride", "repeat", "rotate", "shear_x", "shear_y", "share_c", "residual"]
    assert [c.name for c in CONV.choices] == names * 3
    assert CONV.cardinalities[:8] == (6, 4, 5, 6, 5, 5, 2, 2)
    assert CONV.choices[0].values == (0, 1, 2, 4, 8, 16)


def test_sizes_that_coincide_on_a_small_map_are_merged():
    sizes = {site: group[0].values for site, group in CONV.site_choices.items()}
    assert sizes == {"layer1.*.bn2": (0, 1, 2, 4, 8, 16), "layer2.*.bn2": (0, 1, 3), "head": (0, 1)}
    sides = {n: ConvSpace(sites={"a": (n, n)}).choices[0].values for n in (2, 4, 7, 8, 16, 224)}
    assert sides == {
        2: (0, 1),
        4: (0, 1, 2),
        7: (0, 1, 2, 4),
        8: (0, 1, 2, 4),
        16: (0, 1, 2, 4, 8),
        224: (0, 1, 14, 28, 56, 112),
    }


def test_conv_tokens_become_pixels():
    policy = CONV.decode((4, 2, 3, 1, 0, 4, 1, 1) + (0,) * 16)
    assert policy == Policy(
        {
            "layer1.*.bn2": ConvPattern(
                height=8,
                width=8,
                stride=16,
                repeat=4,
                rotate=15.0,
                shear_x=-0.4,
                shear_y=0.4,
                share_c=True,
                residual=True,
            )
        }
    )


def test_strides_are_at_least_one_pixel():
    space = ConvSpace(sites={"a": (8, 8)}, strides=(0.0, 0.1, 2.0))
    strides = [space.decode((1, token, 0, 0, 0, 0, 0, 0)).sites["a"].stride for token in range(3)]
    assert strides == [1, 1, 2]


def test_with_rates_the_whole_map_joins():
    space = SPACES["conv-rates"]
    assert space.choices[0].values == (0, 1, 2, 4, 8, 16, "whole")
    assert len(space) == 3 * 9
    assert space.choices[8].name == "rate"
    pattern = space.decode((6, 3, 0, 0, 2, 2, 1, 0, 1) + (0,) * 18).sites["layer1.*.bn2"]
    assert pattern == ConvPattern(height="whole", width="whole", stride=0, rate=0.5)


def test_rectangles_have_a_height_and_a_width():
    space = SPACES["conv-rectangles"]
    assert [c.name for c in space.choices[:3]] == ["height", "width", "stride"]
    assert space.choices[9 + 0].values == (0, 1, 2, 4)
    assert space.choices[9 + 1].values == (1, 3)
    pattern = space.decode((0,) * 9 + (3, 0, 1, 0, 0, 2, 2, 0, 0) + (0,) * 10).sites["layer2.*.bn2"]
    assert pattern == ConvPattern(height=4, width=1, stride=4, share_c=False)


def test_only_named_sites_have_a_shortcut():
    flags = {c.site: c.values for c in SPACES["conv-rectangles"].choices if c.name == "residual"}
    assert flags == {"layer1.*.bn2": (False,), "layer2.*.bn2": (False,), "head": (False, True)}
    assert {c.values for c in SPACES["conv-all"].choices if c.name == "residual"} == {(False,)}


def test_the_schedule_is_the_last_decision():
    space = SPACES["token-schedule"]
    assert space.choices[-1] == Choice(site="", name="schedule", values=SCHEDULES, prior=(0.25,) * 4)
    assert space.decode((0,) * 10 + (2,)) == Policy({}, "early")
    assert space.encode(Policy({}, "late")) == (0,) * 10 + (3,)


def test_the_standard_token_space():
    assert len(STANDARD) == 7 * 5
    assert list(STANDARD.site_choices) == [f"role:{role}" for role in ROLES]
    assert [c.name for c in STANDARD.choices[:5]] == ["size", "stride", "share_t", "share_c", "rate"]
    assert [c.values for c in STANDARD.choices[:5]] == [
        (0, 1, 4, "whole"),
        (0,),
        (False, True),
        (False, True),
        (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    ]
    assert STANDARD.site_choices["role:residual"][-1].values == (0.02, 0.05, 0.1, 0.15)
    assert list(SPACES["token-schedule"].site_choices) == ["role:query", "encoder.0"]


def test_token_tokens_become_patterns():
    policy = TOKEN.decode((6, 1, 1, 0, 2) + (0,) * 25 + (1, 4, 0, 1, 3))
    assert policy == Policy(
        {
            "role:query": TokenPattern(size="whole", stride=1, share_t=True, rate=0.2),
            "role:residual": TokenPattern(size=1, stride=8, share_c=True, rate=0.15),
        }
    )


BAD_CONV = [
    ({"sites": {}}, "sites is {}; expected at least one key with the (height, width) of its map"),
    ({"sites": ["a"]}, "sites is ['a']; expected at least one key with the (height, width) of its map"),
    ({"sites": {"a": 8}}, "the map of 'a' is 8; expected (height, width), both at least 1"),
    ({"sites": {"a": (8, 0)}}, "the map of 'a' is (8, 0); expected (height, width), both at least 1"),
    ({"sites": {"a": (8, 8.0)}}, "the map of 'a' is (8, 8.0); expected (height, width), both at least 1"),
    ({"sites": {"a b": (8, 8)}}, "the space has a value that no pattern can take: key 'a b' is no site name"),
    ({"sites": {3: (8, 8)}}, "the space has a value that no pattern can take: key 3 is no string"),
    ({"sizes": ()}, "sizes is []; expected at least one value, none of them twice"),
    ({"sizes": (0.5, 0.5)}, "sizes is [0.5, 0.5]; expected at least one value, none of them twice"),
    ({"sizes": "whole"}, "sizes is 'whole'; expected a sequence such as ('whole',)"),
    ({"sizes": (2.0,)}, 'size 2.0 is neither a share between 0 and 1 nor "pixel" nor "whole"'),
    ({"sizes": (0,)}, 'size 0 is neither a share between 0 and 1 nor "pixel" nor "whole"'),
    ({"sizes": ("all",)}, 'size \'all\' is neither a share between 0 and 1 nor "pixel" nor "whole"'),
    ({"strides": (-1.0,)}, "strides has -1.0; expected numbers from 0 to 1000"),
    ({"strides": (float("nan"),)}, "strides has nan; expected numbers from 0 to 1000"),
    ({"strides": 2.0}, "strides is 2.0; expected a sequence such as (2.0,)"),
    ({"repeats": (0,)}, "the space has a value that no pattern can take: repeat is 0; expected a whole numb"),
    ({"repeats": (1, [])}, "the space has a value that no pattern can take: repeat is []; expected a whole"),
    ({"rotates": ("30",)}, "rotates has '30'; expected numbers from -360 to 360"),
    ({"shears": (float("inf"),)}, "shears has inf; expected numbers from -10 to 10"),
    ({"shears": (True,)}, "shears has True; expected numbers from -10 to 10"),
    ({"rates": ()}, "rates is []; expected at least one value, none of them twice"),
    ({"rates": (0.0, 1.0)}, "rates has 0.0; expected numbers from 1e-06 to 1"),
    ({"residual": ("b",)}, "residual names ['b'], which are no sites of this space: ['a']"),
    ({"residual": "a"}, "residual is 'a'; expected a sequence such as ('a',)"),
    ({"rectangles": 1}, "rectangles is 1; expected True or False"),
    ({"schedule": "late"}, "schedule is 'late'; expected True or False"),
    ({"off": 0.0}, "off is 0.0; expected a probability between 0 and 1, both excluded"),
    ({"off": "half"}, "off is 'half'; expected a probability between 0 and 1, both excluded"),
]
BAD_TOKEN = [
    ({"sites": ()}, "sites is []; expected at least one value, none of them twice"),
    ({"sites": "query"}, "sites is 'query'; expected a sequence such as ('query',)"),
    ({"sites": ("query", "query")}, "sites is ['query', 'query']; expected at least one value, none of them"),
    (
        {"sites": ("query", "role:query")},
        "sites with their roles written out is ['role:query', 'role:query']; expected at least one value,",
    ),
    ({"sites": ("role:querry",)}, "the space has a value that no pattern can take: 'role:querry' names no r"),
    ({"sites": (3,)}, "the space has a value that no pattern can take: key 3 is no string"),
    ({"sizes": (-1,)}, "the space has a value that no pattern can take: size is -1; expected a whole numbe"),
    ({"sizes": (0, 1)}, "sizes has 0, which is off; off is always there, so leave it out"),
    ({"strides": (0.5,)}, "the space has a value that no pattern can take: stride is 0.5; expected a whol"),
    ({"rates": (0.0,)}, "rates has 0.0; expected numbers from 1e-06 to 1"),
    ({"residual_rates": (1.5,)}, "residual_rates has 1.5; expected numbers from 1e-06 to 1"),
    ({"schedule": None}, "schedule is None; expected True or False"),
    ({"off": 1.0}, "off is 1.0; expected a probability between 0 and 1, both excluded"),
]


@pytest.mark.parametrize(("bad", "text"), BAD_CONV)
def test_a_badly_described_conv_space_cannot_be_built(bad, text):
    with pytest.raises(SpaceError) as caught:
        ConvSpace(**{"sites": {"a": (8, 8)}} | bad)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(("bad", "text"), BAD_TOKEN)
def test_a_badly_described_token_space_cannot_be_built(bad, text):
    with pytest.raises(SpaceError) as caught:
        TokenSpace(**{"sites": ("query",)} | bad)
    assert str(caught.value).startswith(text)


def test_spaces_are_equal_when_they_describe_the_same():
    assert ConvSpace(sites={"a": [8, 8]}, rotates=[0, 30], off=0.5) == ConvSpace(
        sites={"a": (8, 8)}, rotates=(0.0, 30.0)
    )
    assert ConvSpace(sites={"a": (8, 8)}) != ConvSpace(sites={"a": (8, 9)})
    both = {"a": (8, 8), "b": (8, 8)}
    assert ConvSpace(sites=both) != ConvSpace(sites=dict(reversed(both.items()))), (
        "the order of decisions counts"
    )
    assert TokenSpace(sites=["query"]) == TokenSpace(sites=("query",))
    assert TokenSpace(sites=("query",)) != CONV
    assert TokenSpace(sites=("query",)) != "query"


def test_the_keys_of_spaces_never_change():
    assert CONV.key == "c5941a1bfe90"
    assert TOKEN.key == "6093f7cb5a88"
    assert STANDARD.key == "a490ed736d88"


def test_token_of_tells_flags_and_numbers_from_words():
    choice = Choice(site="a", name="size", values=(0, 1, "whole"), prior=(0.5, 0.25, 0.25))
    assert [token_of(choice, value) for value in choice.values] == [0, 1, 2]
    with pytest.raises(SpaceError, match=r"'a' has size 2, which is not in the space: \[0, 1, 'whole'\]"):
        token_of(choice, 2)


def test_the_wide_token_space():
    wide = TokenSpace.wide(("query", "ffn"), off=0.3)
    assert [c.values for c in wide.choices[:2]] == [(0, 1, 2, 4, 8, 16, "whole"), (0, 1, 2, 4, 8)]
    assert wide.off == 0.3
    assert wide == TokenSpace(
        sites=("query", "ffn"), sizes=(1, 2, 4, 8, 16, "whole"), strides=(0, 1, 2, 4, 8), off=0.3
    )
    with pytest.raises(SpaceError, match="rates"):
        TokenSpace.wide(("query",), rates=(2.0,))
    narrow = TokenSpace(sites=("query", "ffn"))
    for choice, more in zip(narrow.choices, wide.choices, strict=True):
        assert set(choice.values) <= set(more.values)
