import copy
import dataclasses
import json
import pickle

import pytest
from hypothesis import given

from autodropout.errors import PatternError, UsageError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import SCHEDULES, Policy
from strategies import POLICIES

CONV = ConvPattern(height=3, width=3, stride=2, repeat=2, rotate=30.0)
TOKEN = TokenPattern(size=2, stride=1, share_t=True, rate=0.1)
POLICY = Policy({"layer1.*.bn2": CONV, "role:query": TOKEN})
TEXT = POLICY.to_json()
ROLES = "query, key, value, softmax, output, ffn, residual"


@given(POLICIES)
def test_json_round_trip(policy):
    again = Policy.from_json(policy.to_json())
    assert again == policy
    assert again.key == policy.key
    assert again.to_json() == policy.to_json()


@given(POLICIES)
def test_pickle_and_deepcopy(policy):
    for twin in (pickle.loads(pickle.dumps(policy)), copy.deepcopy(policy), copy.copy(policy)):
        assert twin == policy
        assert hash(twin) == hash(policy)
        assert twin.key == policy.key
        with pytest.raises(TypeError, match="a policy cannot be changed; build a new one"):
            twin.sites["new"] = CONV


def test_the_key_and_the_json_never_change():
    assert POLICY.key == "91b2751825a1"
    assert Policy({}).key == "9d87a377a8e1"
    document = json.loads(TEXT)
    assert document == {
        "schema": 1,
        "schedule": "constant",
        "sites": {
            "layer1.*.bn2": {
                "kind": "conv",
                "height": 3,
                "width": 3,
                "stride": 2,
                "repeat": 2,
                "rotate": 30.0,
                "shear_x": 0.0,
                "shear_y": 0.0,
                "share_c": True,
                "residual": False,
                "rate": 1.0,
            },
            "role:query": {
                "kind": "token",
                "size": 2,
                "stride": 1,
                "share_t": True,
                "share_c": False,
                "rate": 0.1,
            },
        },
    }


def test_equality_is_by_value_and_blind_to_order():
    turned = Policy({"role:query": TOKEN, "layer1.*.bn2": CONV})
    assert turned == POLICY
    assert turned.key == POLICY.key
    assert turned.to_json() == TEXT
    assert {POLICY, turned} == {POLICY}
    others = [
        Policy({"layer1.*.bn2": CONV}),
        Policy(POLICY.sites, schedule="ramp"),
        Policy({**POLICY.sites, "role:query": dataclasses.replace(TOKEN, rate=0.2)}),
    ]
    assert len({POLICY.key, *(o.key for o in others)}) == 4
    assert POLICY not in others


def test_a_policy_cannot_be_changed():
    given_sites = {"a": CONV}
    policy = Policy(given_sites)
    given_sites["b"] = CONV
    assert dict(policy.sites) == {"a": CONV}
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.schedule = "ramp"
    for change in (
        lambda sites: sites.update(b=CONV),
        lambda sites: sites.pop("a"),
        lambda sites: sites.popitem(),
        lambda sites: sites.clear(),
        lambda sites: sites.setdefault("b", CONV),
        lambda sites: sites.__delitem__("a"),
        lambda sites: sites.__ior__({"b": CONV}),
    ):
        with pytest.raises(TypeError, match="a policy cannot be changed; build a new one"):
            change(policy.sites)
    assert policy == Policy({"a": CONV})


@pytest.mark.parametrize(
    "key", ["layer1.0.bn2", "layer1.*.bn2", "*", "a[0]", "features.0?", "role:ffn", "é.b"]
)
def test_keys_that_are_fine(key):
    assert list(Policy({key: CONV}).sites) == [key]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("", "key '' is no site name: it is empty or has a space or a colon"),
        ("a b", "key 'a b' is no site name: it is empty or has a space or a colon"),
        ("rolle:query", "key 'rolle:query' is no site name: it is empty or has a space or a colon"),
        ("role:querry", f"'role:querry' names no role; roles are {ROLES}"),
        ("role:", f"'role:' names no role; roles are {ROLES}"),
        (3, "key 3 is no string; expected a site, a role such as 'role:query', or a glob"),
    ],
)
def test_an_invalid_key_is_refused(key, text):
    with pytest.raises(PatternError) as caught:
        Policy({key: CONV})
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([CONV],), f"sites is {[CONV]!r}; expected a mapping from keys to patterns"),
        (({"a": 0.5},), "'a' maps to 0.5; expected a ConvPattern or a TokenPattern"),
        (({}, "linear"), "schedule is 'linear'; expected one of constant, ramp, early, late"),
        (({}, None), "schedule is None; expected one of constant, ramp, early, late"),
    ],
)
def test_an_invalid_policy_cannot_be_built(arguments, text):
    with pytest.raises(PatternError) as caught:
        Policy(*arguments)
    assert str(caught.value) == text


def changed(**changes):
    return json.dumps(json.loads(TEXT) | changes)


def with_pattern(**changes):
    pattern = json.loads(TEXT)["sites"]["role:query"] | changes
    return changed(sites={"role:query": {k: v for k, v in pattern.items() if v is not ...}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a policy: malformed JSON (Expecting value: line 1 column 1 (char 0))"),
        (TEXT[:-20], "not a policy: malformed JSON ("),
        (TEXT + "x", "not a policy: malformed JSON (Extra data"),
        ("[" * 100_000, "not a policy: malformed JSON ("),
        (None, "not a policy: malformed JSON ("),
        (b"\xff\xfe\xff", "not a policy: malformed JSON ("),
        ("[]", "the policy is []; expected a JSON object"),
        ("null", "the policy is None; expected a JSON object"),
        ("{}", "the policy's schema is None; this autodropout reads schema 1"),
        (changed(schema=2), "the policy's schema is 2; this autodropout reads schema 1"),
        (changed(schema="1"), "the policy's schema is '1'; this autodropout reads schema 1"),
        (changed(schema=True), "the policy's schema is True; this autodropout reads schema 1"),
        ('{"schema": 1}', "the policy lacks the fields ['sites']"),
        (changed(name="x"), "the policy has unknown fields ['name']; known are ['schedule', 'sites']"),
        (changed(schedule="fast"), "schedule is 'fast'; expected one of constant, ramp, early, late"),
        (changed(schedule=[]), "schedule is []; expected one of constant, ramp, early, late"),
        (changed(sites=[]), "the policy's sites are []; expected an object of keys and patterns"),
        (changed(sites={"a": 1}), "'a' maps to 1; expected an object with a kind"),
        (changed(sites={"a": {}}), "'a' has kind None; expected one of conv, token"),
        (changed(sites={"a": {"kind": []}}), "'a' has kind []; expected one of conv, token"),
        (changed(sites={"a": {"kind": "conv"}}), "'a' lacks the fields ['height', 'width']"),
        (with_pattern(size=...), "'role:query' lacks the fields ['size']"),
        (
            with_pattern(repeat=1),
            "'role:query' has unknown fields ['repeat']; known are "
            "['rate', 'share_c', 'share_t', 'size', 'stride']",
        ),
        (with_pattern(rate=2), "'role:query': rate is 2; expected a probability between 0 and 1"),
        (with_pattern(rate=float("nan")), "'role:query': rate is nan; expected a finite number"),
        (with_pattern(size=10**12), f"'role:query': size is {10**12}; expected a whole number from 0"),
        (
            '{"schema": 1, "schema": 1, "sites": {}}',
            "'schema' stands twice in the JSON; keep one of the two",
        ),
        (
            '{"schema": 1, "sites": {"a": {"kind": "token", "size": 1, "size": 2}}}',
            "'size' stands twice in the JSON; keep one of the two",
        ),
    ],
)
def test_bad_json_is_refused_in_one_sentence(text, message):
    with pytest.raises(PatternError) as caught:
        Policy.from_json(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_fields_with_a_default_may_be_left_out():
    text = '{"schema": 1, "sites": {"a": {"kind": "conv", "height": "whole", "width": 2}}}'
    assert Policy.from_json(text) == Policy({"a": ConvPattern(height="whole", width=2)})


def test_save_and_load(tmp_path):
    path = tmp_path / "policy.json"
    POLICY.save(path)
    assert path.read_text() == TEXT
    assert Policy.load(str(path)) == POLICY


def test_load_names_the_file(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text("{}")
    with pytest.raises(PatternError) as caught:
        Policy.load(path)
    assert str(caught.value) == f"{path}: the policy's schema is None; this autodropout reads schema 1"
    path.write_bytes(b"\xff")
    with pytest.raises(PatternError, match=r"policy\.json: .*decode"):
        Policy.load(path)
    with pytest.raises(FileNotFoundError):
        Policy.load(tmp_path / "nowhere.json")


def test_scaled_scales_every_pattern_and_keeps_the_schedule():
    policy = Policy(POLICY.sites, schedule="late").scaled(2.0)
    expected = {
        "layer1.*.bn2": dataclasses.replace(CONV, height=6, width=6, stride=4),
        "role:query": dataclasses.replace(TOKEN, size=4, stride=2),
    }
    assert policy == Policy(expected, schedule="late")
    with pytest.raises(PatternError, match="factor is 0; expected a positive number"):
        POLICY.scaled(0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("ramp", [0.0, 0.25, 0.5, 1.0]),
        ("early", [1.0, 1.0, 0.0, 0.0]),
        ("late", [0.0, 0.0, 1.0, 1.0]),
    ],
)
def test_strength_follows_the_schedule(schedule, expected):
    policy = Policy({}, schedule=schedule)
    assert [policy.strength(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == expected
    assert schedule in SCHEDULES
    assert policy.strength(-1.0) == expected[0]
    assert policy.strength(2.0) == expected[-1]


def test_a_file_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "taken.json").mkdir()
    for path in (tmp_path / "taken.json", tmp_path / "nowhere" / "p.json"):
        with pytest.raises(UsageError, match=rf"{path} cannot be written \(.*\); make room or name another"):
            POLICY.save(path)


def test_a_failure_leaves_the_earlier_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "policy.json"
    POLICY.save(path)

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UsageError, match="No space left on device"):
        Policy({}).save(path)
    assert Policy.load(path) == POLICY
