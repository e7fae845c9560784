"""A policy as numbers that a regressor can learn from."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from autodropout.benchmark.canonical import pattern_of
from autodropout.conv_space import ConvSpace
from autodropout.errors import SpaceError
from autodropout.pattern import ConvPattern, Pattern, TokenPattern
from autodropout.policy import SCHEDULES, Policy
from autodropout.space import PAD, Space, Value

Floats = NDArray[np.float64]


class Features:
    """Turns tokens of any space whose sites and values were in the landscape into rows of numbers.

    A site that is off has zeros. One that is on has: a one; its exact drop rate, its logarithm, and the
    rate where channels or time steps share their draws; every choice that is a number, as its logarithm
    where it is positive; and for every choice with more than two values an indicator of each. Equal
    policies have equal rows, whatever tokens describe them.

    Args:
        spaces: The spaces of the landscape.

    Raises:
        SpaceError: There is no space, or their sites differ in kind.
    """

    def __init__(self, spaces: Iterable[Space]) -> None:
        self._spaces = tuple(spaces)
        self._values = _values(self._spaces)
        self._widths = {site: _width(choices) for site, choices in self._values.items()}
        starts = list(accumulate([0, *self._widths.values()]))
        self._starts = dict(zip(self._widths, starts, strict=False))
        self.number = starts[-1] + len(SCHEDULES)
        """Columns."""
        self._schedules = any(space.searches_schedule for space in self._spaces)
        self._rows: dict[tuple[str, str, tuple[int, ...]], Floats] = {}
        self._checked: set[str] = set()

    def of(self, space: Space, tokens: Sequence[Sequence[int]]) -> Floats:
        """Return one row per policy, (n, number).

        Args:
            space: The space that the tokens belong to.
            tokens: Tokens of each policy.

        Raises:
            SpaceError: A site or value of the space was not in the landscape, or a policy has not one token
                per decision of the space.
        """
        self.check(space)
        rows = np.zeros((len(tokens), self.number))
        for row, policy in zip(rows, tokens, strict=True):
            _check_length(policy, space)
            start = 0
            for site, group in space.site_choices.items():
                mine = tuple(policy[start : start + len(group)])
                start += len(group)
                if mine[0] != PAD:
                    column = self._starts[site]
                    row[column : column + self._widths[site]] = self._row(space, site, mine)
            if space.searches_schedule:
                row[self.number - len(SCHEDULES) + policy[-1]] = 1.0
        return rows

    def check(self, space: Space) -> None:
        """Refuse a space that the landscape says nothing about.

        Raises:
            SpaceError: A site or value of the space was not in the landscape.
        """
        if space.key in self._checked:
            return
        if space.searches_schedule and not self._schedules:
            raise SpaceError("the landscape has no schedules; name a space that does not search them")
        for site, group in space.site_choices.items():
            if site not in self._values:
                raise SpaceError(f"the landscape has no site {site!r}; it has {list(self._values)}")
            for place, choice in enumerate(group):
                known = self._values[site].get(choice.name, ())
                if unknown := [value for value in choice.values[place == 0 :] if value not in known]:
                    raise SpaceError(
                        f"the landscape has no {choice.name} {unknown[0]!r} at {site!r}; it has {list(known)}"
                    )
        self._checked.add(space.key)

    def _row(self, space: Space, site: str, tokens: tuple[int, ...]) -> Floats:
        """Return the columns of a site that is on, and keep them: a search asks for few of them, often."""
        key = (space.key, site, tokens)
        if key not in self._rows:
            self._rows[key] = self._computed(space, site, tokens)
        return self._rows[key]

    def _computed(self, space: Space, site: str, tokens: tuple[int, ...]) -> Floats:
        pattern = pattern_of(space, site, tokens)
        rate = _rate(space, site, pattern)
        chosen = self._chosen(space, site, pattern)
        row = [
            1.0,
            rate,
            math.log(rate),
            rate * bool(chosen.get("share_c")),
            rate * bool(chosen.get("share_t")),
        ]
        for name, values in self._values[site].items():
            value = chosen.get(name)
            row.append(0.0 if value is None else _size(value, values))
            if len(values) > 2:
                row += [float(value == other) for other in values]
        return np.array(row)

    def _chosen(self, space: Space, site: str, pattern: Pattern) -> dict[str, Value]:
        """Return the pattern's value of every choice, in the words of the landscape if it has the pattern."""
        for home in self._spaces:
            try:
                return _named(home, site, pattern)
            except SpaceError:
                continue
        return _named(space, site, pattern)


def _named(space: Space, site: str, pattern: Pattern) -> dict[str, Value]:
    decided = zip(space.choices, space.encode(Policy({site: pattern})), strict=True)
    return {choice.name: choice.values[token] for choice, token in decided if choice.site == site}


def _check_length(policy: Sequence[int], space: Space) -> None:
    several = hasattr(policy, "__len__")
    if not several or len(policy) != len(space):
        found = f"{len(policy)} tokens" if several else f"{policy!r}"
        raise SpaceError(
            f"a policy is given as {found}; expected {len(space)}, one per decision of the space: name the "
            "space that the tokens are of, and give a list of policies"
        )


def _values(spaces: Iterable[Space]) -> dict[str, dict[str, tuple[Value, ...]]]:
    """Return the values of every choice of every site, "off" left out."""
    found: dict[str, dict[str, tuple[Value, ...]]] = {}
    for space in spaces:
        for site, group in space.site_choices.items():
            for place, choice in enumerate(group):
                known = found.setdefault(site, {}).get(choice.name, ())
                found[site][choice.name] = tuple(dict.fromkeys((*known, *choice.values[place == 0 :])))
    if not found:
        raise SpaceError("a landscape needs at least one space")
    return found


def _width(choices: Mapping[str, tuple[Value, ...]]) -> int:
    return 5 + sum(1 + (len(values) if len(values) > 2 else 0) for values in choices.values())


def _size(value: Value, values: Sequence[Value]) -> float:
    """Return a number that grows with the value; a word, such as "whole", stands above all numbers."""
    numbers = [other for other in values if not isinstance(other, str)]
    number = 2 * max(numbers, default=1) if isinstance(value, str) else value
    if min(numbers, default=1) < 0:
        return float(number)
    return math.log(number) if min(numbers, default=1) > 0 else math.log1p(number)


def drop_rate(space: Space, site: str, tokens: tuple[int, ...]) -> float:
    """Return the exact drop rate of the site, the others being off."""
    return _rate(space, site, pattern_of(space, site, tokens))


def _rate(space: Space, site: str, pattern: Pattern) -> float:
    match space, pattern:
        case ConvSpace(sites=sizes), ConvPattern():
            return pattern.drop_rate(*sizes[site])
        case _, TokenPattern():
            return pattern.drop_rate()
    raise SpaceError(f"the drop rate at {site!r} is unknown in a {type(space).__name__}")
