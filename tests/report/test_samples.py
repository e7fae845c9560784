import numpy as np
import pytest

from autodropout.errors import UsageError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import Policy
from autodropout.report.samples import TOKEN_CHANNELS, SampleSettings, describe, facts, sample_policy

CONV = ConvPattern(height=2, width=3, stride=1, repeat=2)
POLICY = Policy(
    {"a": CONV, "b": ConvPattern(height=0, width=2), "role:ffn": TokenPattern(size=4, stride=4, rate=0.5)}
)


def test_one_sample_per_key_with_its_exact_rate_and_its_map():
    conv, off, token = sample_policy(POLICY, SampleSettings(size=(8, 9), tokens=16))
    assert [conv.key, off.key, token.key] == ["a", "b", "role:ffn"]
    assert conv.drop_rate == CONV.drop_rate(8, 9)
    assert [keep.shape for keep in conv.keep] == [(8, 9)] * 6
    assert off.keep == ()
    assert off.drop_rate == 0.0
    assert [keep.shape for keep in token.keep] == [(TOKEN_CHANNELS, 16)] * 2
    assert token.drop_rate == 0.25


def test_a_site_has_the_size_that_is_known_for_it():
    policy = Policy({"a": CONV, "b": CONV})
    b, a = sample_policy(policy, SampleSettings(size=(8, 8), sizes={"z": (2, 2), "b": (4, 5)}, draws=1))
    assert (b.key, a.key) == ("b", "a")
    assert (a.keep[0].shape, b.keep[0].shape) == ((8, 8), (4, 5))


def test_masks_are_drawn_from_the_pattern():
    policy = Policy({"a": ConvPattern(height=1, width="whole", stride=1, repeat="fill", share_c=False)})
    (sample,) = sample_policy(policy, SampleSettings(size=(6, 5), draws=30))
    for keep in sample.keep:
        assert np.array_equal(keep, keep[:, :1].repeat(5, axis=1))
        assert np.all(keep[:-1, 0] != keep[1:, 0])
    assert {bool(keep[0, 0]) for keep in sample.keep} == {True, False}


def test_shared_channels_are_shown_alike():
    policy = Policy({"x": TokenPattern(size=1, share_c=True, rate=0.5)})
    (sample,) = sample_policy(policy, SampleSettings(tokens=64))
    assert all(np.array_equal(keep, np.broadcast_to(keep[0], keep.shape)) for keep in sample.keep)
    assert 0 < sample.keep[0].mean() < 1


def test_the_seed_decides():
    def drawn(seed: int) -> list[bytes]:
        return [keep.tobytes() for s in sample_policy(POLICY, SampleSettings(seed=seed)) for keep in s.keep]

    assert drawn(1) == drawn(1) != drawn(2)


def test_an_empty_policy_has_no_samples():
    assert sample_policy(Policy({}), SampleSettings()) == ()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (ConvPattern(height=0, width=0), "off"),
        (TokenPattern(size=3, rate=0.0), "off"),
        (ConvPattern(height=3, width=2), "one 3 x 2 tile; one draw for all channels"),
        (
            ConvPattern(height=1, width=1, stride=2, repeat=3, rotate=30.0, share_c=False, residual=True),
            "1 x 1 tiles, 3 x 3 of them, 2 apart, rotated 30°; one draw per channel, on the shortcut, too",
        ),
        (
            ConvPattern(height=2, width=2, stride=1, repeat="fill", shear_x=-0.4, shear_y=0.2),
            "2 x 2 tiles all over, 1 apart, sheared -0.4 along x, sheared 0.2 along y; "
            "one draw for all channels",
        ),
        (
            ConvPattern(height="whole", width="whole", repeat=2, rate=0.25),
            "the whole map, in 25% of the draws; one draw for all channels",
        ),
        (ConvPattern(height="whole", width=1), "one tile of all rows x 1; one draw for all channels"),
        (
            ConvPattern(height=1, width="whole", stride=1, repeat=2),
            "tiles of 1 x all columns, 2 of them, 1 apart; one draw for all channels",
        ),
        (
            TokenPattern(size=1, rate=0.1),
            "every token; one coin per token and channel, dropped with probability 0.1",
        ),
        (
            TokenPattern(size=1, stride=2, share_c=True, rate=0.2),
            "1 token, then 2 left alone, and so on; one coin per token, dropped with probability 0.2",
        ),
        (
            TokenPattern(size=4, share_t=True, rate=0.3),
            "every token, in blocks of 4; one coin per block and channel, dropped with probability 0.3",
        ),
        (
            TokenPattern(size="whole", stride=1, share_t=True, share_c=True, rate=0.05),
            "the whole sequence; one coin per sequence, dropped with probability 0.05",
        ),
    ],
)
def test_patterns_in_words(pattern, words):
    assert describe(pattern) == words


def test_facts():
    conv, off, token = sample_policy(POLICY, SampleSettings(size=(8, 9)))
    assert facts(conv) == f"drops {100 * CONV.drop_rate(8, 9):.3g}% of a map of 8 x 9"
    assert facts(off) == "off"
    assert facts(token) == "drops 25% of 8 channels x 32 tokens"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"size": (0, 4)}, "a map of 0 x 4 pixels cannot be drawn; expected at least 1 x 1"),
        ({"sizes": {"a": (3, -2)}}, "a map of 3 x -2 pixels cannot be drawn; expected at least 1 x 1"),
        ({"tokens": 0}, "tokens is 0; expected at least 1"),
        ({"draws": -1}, "draws is -1; expected at least 1"),
    ],
)
def test_settings_out_of_range(settings, text):
    with pytest.raises(UsageError) as caught:
        SampleSettings(**settings)
    assert str(caught.value) == text
