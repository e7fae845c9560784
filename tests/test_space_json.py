import json

import pytest

from autodropout.conv_space import ConvSpace
from autodropout.errors import SpaceError
from autodropout.policy import ROLES
from autodropout.space_json import space_from_json
from autodropout.token_space import TokenSpace

SPACES = [
    ConvSpace(sites={"b": (32, 16), "a.*": (8, 8)}),
    ConvSpace(
        sites={"a": (7, 7)},
        sizes=("pixel", 1, 0.5, "whole"),
        strides=[1],
        repeats=(2, "fill"),
        rotates=(0,),
        shears=(0, 0.1),
        residual=(),
        rates=(0.5, 1),
        rectangles=True,
        schedule=True,
        off=0.25,
    ),
    TokenSpace(sites=ROLES),
    TokenSpace(sites=("query", "x.y"), sizes=(1, "whole"), strides=(3,), rates=[1], schedule=True, off=0.9),
]
CONV, TOKEN = (json.loads(space.to_json()) for space in (SPACES[0], SPACES[2]))


@pytest.mark.parametrize("space", SPACES)
def test_round_trip(space):
    again = space_from_json(space.to_json())
    assert type(again) is type(space)
    assert again == space
    assert again.to_json() == space.to_json()
    assert again.choices == space.choices
    assert again.key == space.key


def test_lists_may_be_left_to_their_defaults():
    assert space_from_json('{"schema": 1, "kind": "token", "sites": ["ffn"]}') == TokenSpace(sites=("ffn",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a space: malformed JSON (Expecting value"),
        (SPACES[0].to_json()[:-5], "not a space: malformed JSON ("),
        (None, "not a space: malformed JSON ("),
        ("3", "the space is 3; expected a JSON object"),
        ("{}", "the space's schema is None; this autodropout reads schema 1"),
        (json.dumps(CONV | {"schema": 2}), "the space's schema is 2; this autodropout reads schema 1"),
        (json.dumps(CONV | {"schema": True}), "the space's schema is True; this autodropout reads schema 1"),
        (json.dumps(CONV | {"kind": "graph"}), "the space is of kind 'graph'; expected conv or token"),
        ('{"schema": 1}', "the space is of kind None; expected conv or token"),
        ('{"schema": 1, "kind": "conv"}', "the space lacks the fields ['sites']"),
        (json.dumps(CONV | {"colour": 1}), "the space has unknown fields ['colour']; known are ["),
        (json.dumps(TOKEN | {"repeats": [1]}), "the space has unknown fields ['repeats']; known are ["),
        (
            json.dumps(CONV | {"sites": {"a": [8, 8]}}),
            "sites is {'a': [8, 8]}; expected pairs of a key and a m",
        ),
        (json.dumps(CONV | {"sites": [["a"]]}), "sites is [['a']]; expected pairs of a key and a map size"),
        (
            json.dumps(CONV | {"sites": [["a", [8, 8]], ["a", [4, 4]]]}),
            "sites is ['a', 'a']; expected at least",
        ),
        (
            json.dumps(CONV | {"sites": [[["a"], [8, 8]]]}),
            "sites is [[['a'], [8, 8]]]; expected pairs of a key",
        ),
        (json.dumps(CONV | {"sites": [["a", 8]]}), "the map of 'a' is 8; expected (height, width), both at "),
        (json.dumps(CONV | {"sizes": [[1]]}), "size [1] is neither a share between 0 and 1 nor "),
        (
            json.dumps(TOKEN | {"sizes": [[1]]}),
            "the space has a value that no pattern can take: size is [1]; ",
        ),
        (json.dumps(TOKEN | {"sites": None}), "sites is None; expected a sequence such as (None,)"),
        (json.dumps(TOKEN | {"sites": [["x"]]}), "the space has a value that no pattern can take: "),
        ('{"schema": 1, "kind": "token", "kind": "conv"}', "'kind' stands twice in the JSON; keep one of"),
    ],
)
def test_bad_json_is_refused_in_one_sentence(text, message):
    with pytest.raises(SpaceError) as caught:
        space_from_json(text)
    assert str(caught.value).startswith(message)
