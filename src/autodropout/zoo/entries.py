"""The policies that come with the package."""

import json
from dataclasses import asdict
from functools import lru_cache
from importlib.resources import files
from typing import Any

from autodropout.errors import PatternError, UsageError
from autodropout.policy import Policy
from autodropout.strict_json import read_object
from autodropout.suggesting import suggested
from autodropout.zoo.card import Arm, Card, Evidence, Searched

SCHEMA = 1
_SUFFIX = ".json"


def names() -> tuple[str, ...]:
    """Return the names of all policies of the zoo, in the order of the alphabet.

    Example:
        >>> "word-dropout" in names()
        True
    """
    entries = (entry.name for entry in files(__package__).joinpath("policies").iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in entries if name.endswith(_SUFFIX)))


def load(name: str) -> Policy:
    """Return a policy by its name.

    Args:
        name: One of ``names()``.

    Raises:
        UsageError: There is none of this name.

    Example:
        >>> load("word-dropout").sites["role:ffn"].rate
        0.1
    """
    return _entry(name)[1]


def card(name: str) -> Card:
    """Return what is known about a policy.

    Args:
        name: One of ``names()``.

    Raises:
        UsageError: There is none of this name.
    """
    return _entry(name)[0]


def to_text(card: Card, policy: Policy) -> str:
    """Return an entry as the zoo keeps it: one JSON object with card and policy."""
    facts = {name: value for name, value in asdict(card).items() if value is not None}
    document = {"schema": SCHEMA, "card": facts, "policy": json.loads(policy.to_json())}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def from_text(text: str) -> tuple[Card, Policy]:
    """Read what ``to_text`` wrote.

    Raises:
        PatternError: The text is malformed or of another schema.
        UsageError: The card is not whole.
    """
    document = read_object(text, SCHEMA, "zoo entry", PatternError)
    try:
        policy = Policy.from_json(json.dumps(document["policy"]))
        return _card(document["card"]), policy
    except (LookupError, TypeError) as error:
        raise PatternError(f"the zoo entry is damaged ({type(error).__name__}: {error})") from error


@lru_cache
def _entry(name: str) -> tuple[Card, Policy]:
    if name not in names():
        hint = suggested(name, names(), f"there are {', '.join(names())}")
        raise UsageError(f"the zoo has no policy {name!r}; {hint}")
    return from_text(files(__package__).joinpath("policies", f"{name}{_SUFFIX}").read_text(encoding="utf8"))


def _card(facts: dict[str, Any]) -> Card:
    searched, evidence = facts.pop("searched", None), facts.pop("evidence", None)
    return Card(
        **facts,
        searched=None if searched is None else Searched(**searched),
        evidence=None if evidence is None else _evidence(evidence),
    )


def _evidence(facts: dict[str, Any]) -> Evidence:
    return Evidence(**{**facts, "arms": tuple(_arm(arm) for arm in facts["arms"])})


def _arm(facts: dict[str, Any]) -> Arm:
    behind = facts.get("behind")
    return Arm(**{**facts, "behind": None if behind is None else tuple(behind)})
