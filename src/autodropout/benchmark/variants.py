"""Searchers to compare, as words: ``reinforce``, ``reinforce:learning_rate=0.01:capacity=16``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from autodropout.engine.base import Searcher
from autodropout.engine.searchers import SEARCHERS, make_searcher
from autodropout.errors import UsageError
from autodropout.space import Space
from autodropout.suggesting import suggested

_LEAST = {"capacity": 1, "repetitions": 2}
_OURS = (*_LEAST, "common_seed")
_WORDS: Mapping[str, object] = {"true": True, "false": False, "null": None, "none": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A searcher with settings of its own.

    Attributes:
        name: Word for it, different from those of others.
        searcher: Name that ``make_searcher`` knows.
        settings: Its fields to set otherwise.
        capacity: Trials under way at a time; None for the comparison's.
        repetitions: Repetitions, if fewer than the comparison's: slow searchers get fewer.
        common_seed: Whether all trials of a search have the same seed; None for what the comparison says.

    Raises:
        UsageError: There is no such searcher, a number is below 1, or ``common_seed`` is no truth value.
    """

    name: str
    searcher: str
    settings: Mapping[str, object] = field(default_factory=dict)
    capacity: int | None = None
    repetitions: int | None = None
    common_seed: bool | None = None

    def __post_init__(self) -> None:
        if self.searcher not in SEARCHERS:
            remedy = suggested(self.searcher, SEARCHERS, f"choose from {', '.join(SEARCHERS)}")
            raise UsageError(f"there is no searcher {self.searcher!r}; {remedy}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise UsageError(f"{name} of {self.name!r} is {value!r}; expected a whole number >= {least}")
        if not isinstance(self.common_seed, bool | None):
            raise UsageError(f"common_seed of {self.name!r} is {self.common_seed!r}; expected true or false")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the variant that the text describes: a searcher, then ``:setting=value`` as often as needed.

        ``capacity``, ``repetitions`` and ``common_seed`` are the variant's own, everything else is a setting
        of the searcher.

        Raises:
            UsageError: A part has no ``=``, or stands twice.

        Example:
            >>> Variant.parse("reinforce:batch=4:capacity=8").settings
            {'batch': 4}
        """
        searcher, *parts = text.strip().split(":")
        settings: dict[str, object] = {}
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals or not name or name in settings:
                raise UsageError(
                    f"{text!r} has the part {part!r}; expected setting=value, each once, as in "
                    "reinforce:batch=8:learning_rate=0.01"
                )
            settings[name] = _value(value)
        ours = {name: settings.pop(name) for name in _OURS if name in settings}
        # How often it is repeated does not make it another searcher.
        words = [searcher, *(part for part in parts if not part.startswith("repetitions="))]
        return cls(name=":".join(words), searcher=searcher, settings=settings, **ours)  # type: ignore[arg-type]

    def make(self, space: Space, *, seed: int, trials: int) -> Searcher:
        """Return the searcher for a search of so many trials.

        Raises:
            UsageError: It has no such setting, or a value is out of range.
        """
        return make_searcher(self.searcher, space, seed=seed, trials=trials, settings=self.settings)


def _value(text: str) -> object:
    """Read a number, true, false or null, however they are written; anything else is a word."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(f"0{text}" if text.startswith(".") else text)
    except ValueError:
        return text
