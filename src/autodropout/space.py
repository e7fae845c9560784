"""What a search may propose: ordered categorical decisions that decode to a policy.

The decisions are grouped by site. The first choice of a site is its size, and its token 0 is "off": the
site's other positions are then dead, hold PAD, and mean nothing.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import index
from typing import Any, Protocol, SupportsIndex

from autodropout.errors import AutoDropoutError, SpaceError
from autodropout.pattern import Pattern
from autodropout.policy import SCHEDULES, Policy

PAD = 0
"""Token at a dead position."""

SCHEMA = 1

Value = int | float | str | bool


class Rng(Protocol):
    """Anything with a ``random()`` in [0, 1): ``random.Random``, ``numpy.random.Generator``."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One decision.

    Attributes:
        site: Key of the site that it belongs to; empty for a decision about the whole policy.
        name: Field that it decides, such as ``"stride"``.
        values: What it chooses from; a token is an index into this. Strides of a conv space are
            multiples of the size, everything else is in the pattern's own units.
        prior: Probability of each value in the controller's starting bias; sums to 1.
    """

    site: str
    name: str
    values: tuple[Value, ...]
    prior: tuple[float, ...]


class Space(ABC):
    """Common ground of ``ConvSpace`` and ``TokenSpace``: tokens to policies and back."""

    @property
    @abstractmethod
    def site_choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """Choices of each site, by key; a site's size comes first and its value 0 is off."""

    @property
    @abstractmethod
    def searches_schedule(self) -> bool:
        """Whether the last decision is the policy's schedule."""

    @abstractmethod
    def to_json(self) -> str:
        """Return canonical JSON that ``space_from_json`` reads."""

    @abstractmethod
    def _pattern(self, site: str, values: Sequence[Value]) -> Pattern:
        """Build the pattern of a site that is on from one value per choice."""

    @abstractmethod
    def _site_tokens(self, site: str, pattern: Pattern) -> tuple[int, ...]:
        """Find the lowest tokens that build this pattern, or raise SpaceError."""

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """All decisions in the order in which they are made."""
        per_site = tuple(choice for group in self.site_choices.values() for choice in group)
        return per_site + ((_SCHEDULE,) if self.searches_schedule else ())

    @cached_property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of values of each decision."""
        return tuple(len(choice.values) for choice in self.choices)

    @cached_property
    def parents(self) -> tuple[int | None, ...]:
        """For each position, the position whose token 0 makes it dead; None if it never is."""
        groups = [len(group) for group in self.site_choices.values()]
        starts = [0, *accumulate(groups)][:-1]
        parents = [
            None if place == 0 else start
            for start, size in zip(starts, groups, strict=True)
            for place in range(size)
        ]
        return tuple(parents) + ((None,) if self.searches_schedule else ())

    @cached_property
    def key(self) -> str:
        """Short stable hash: equal for equal spaces."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def __len__(self) -> int:
        return len(self.choices)

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, Space) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def decode(self, tokens: Sequence[SupportsIndex]) -> Policy:
        """Turn tokens into the policy that they describe; sites that are off are left out.

        Args:
            tokens: One index per decision; what stands at dead positions is ignored.

        Raises:
            SpaceError: There are too many or too few tokens, or one is out of range.
        """
        indices = self._checked(tokens)
        sites, start = {}, 0
        for site, group in self.site_choices.items():
            mine = indices[start : start + len(group)]
            start += len(group)
            if mine[0] != 0:
                sites[site] = self._pattern(
                    site, [choice.values[token] for choice, token in zip(group, mine, strict=True)]
                )
        schedule = SCHEDULES[indices[-1]] if self.searches_schedule else "constant"
        return Policy(sites, schedule)

    def encode(self, policy: Policy) -> tuple[int, ...]:
        """Turn a policy of this space into its canonical tokens: the lowest, PAD at dead positions.

        decode(encode(p)) = p, and encode(decode(t)) is the canonical form of t.

        Raises:
            SpaceError: The policy has a key or a value that is not in this space.
        """
        if unknown := sorted(set(policy.sites) - set(self.site_choices)):
            raise SpaceError(f"the space has no site {unknown}; it has {list(self.site_choices)}")
        tokens: tuple[int, ...] = ()
        for site, group in self.site_choices.items():
            pattern = policy.sites.get(site)
            off = pattern is None or pattern.off
            tokens += (0,) + (PAD,) * (len(group) - 1) if off else self._site_tokens(site, policy.sites[site])
        if self.searches_schedule:
            return (*tokens, SCHEDULES.index(policy.schedule))
        if policy.schedule != "constant":
            raise SpaceError(f"the space does not search schedules; the policy's is {policy.schedule!r}")
        return tokens

    def sample(self, rng: Rng, *, biased: bool = False) -> tuple[int, ...]:
        """Draw tokens, PAD at dead positions.

        Args:
            rng: Source of randomness with a ``random()`` method.
            biased: Draw from the controller's starting bias instead of uniformly over the values.
        """
        tokens: list[int] = []
        for choice, parent in zip(self.choices, self.parents, strict=True):
            if parent is not None and tokens[parent] == 0:
                tokens.append(PAD)
            else:
                prior = choice.prior if biased else (1 / len(choice.values),) * len(choice.values)
                tokens.append(_draw(rng.random(), prior))
        return tuple(tokens)

    def live(self, tokens: Sequence[int]) -> tuple[bool, ...]:
        """Say for each position whether its token means anything."""
        return tuple(parent is None or tokens[parent] != 0 for parent in self.parents)

    def _probe(self) -> None:
        """Decode every value once, so that a bad one is refused when the space is built."""
        try:
            for token in range(max(self.cardinalities)):
                wanted = (max(token, 1) if parent is None else token for parent in self.parents)
                self.decode([min(t, n - 1) for t, n in zip(wanted, self.cardinalities, strict=True)])
        except SpaceError:
            raise
        except (AutoDropoutError, TypeError) as error:
            raise SpaceError(f"the space has a value that no pattern can take: {error}") from error

    def _checked(self, tokens: Sequence[SupportsIndex]) -> tuple[int, ...]:
        try:
            indices = tuple(index(token) for token in tokens)
        except TypeError as error:
            raise SpaceError(f"tokens are {tokens!r}; expected a sequence of whole numbers") from error
        if len(indices) != len(self):
            raise SpaceError(f"got {len(indices)} tokens; the space has {len(self)} decisions")
        for position, (token, choice) in enumerate(zip(indices, self.choices, strict=True)):
            if not 0 <= token < len(choice.values):
                raise SpaceError(
                    f"token {position} ({choice.name} of {choice.site!r}) is {token}; "
                    f"expected 0 to {len(choice.values) - 1}"
                )
        return indices


def token_of(choice: Choice, value: Value) -> int:
    """Return the index of a value in a choice.

    Raises:
        SpaceError: The choice does not have it.
    """
    for token, candidate in enumerate(choice.values):
        if candidate == value and isinstance(candidate, str) == isinstance(value, str):
            return token
    raise SpaceError(
        f"{choice.site!r} has {choice.name} {value!r}, which is not in the space: {list(choice.values)}"
    )


def uniform(site: str, name: str, values: Sequence[Value]) -> Choice:
    """Return a choice whose starting bias is uniform."""
    return Choice(site=site, name=name, values=tuple(values), prior=(1 / len(values),) * len(values))


def merged(values: Sequence[Value]) -> tuple[Value, ...]:
    """Return the values without repetitions, first ones kept."""
    return tuple(dict.fromkeys(values))


def checked(name: str, values: object) -> tuple[Any, ...]:
    """Return the values of a choice as a tuple.

    Raises:
        SpaceError: There is none, one of them stands twice, or they are no sequence.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise SpaceError(f"{name} is {values!r}; expected a sequence such as ({values!r},)")
    given = tuple(values)
    if not given or any(value in given[:place] for place, value in enumerate(given)):
        raise SpaceError(f"{name} is {list(given)}; expected at least one value, none of them twice")
    return given


def checked_numbers(name: str, values: object, low: float, high: float) -> tuple[float, ...]:
    """Return the values of a choice as floats.

    Raises:
        SpaceError: There is none, one of them stands twice, or one is no number from ``low`` to ``high``.
    """
    given = checked(name, values)
    for value in given:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise SpaceError(f"{name} has {value!r}; expected numbers from {low:g} to {high:g}")
    return tuple(float(value) + 0.0 for value in given)


def checked_off(off: object) -> float:
    """Return the probability of "off".

    Raises:
        SpaceError: It is not between 0 and 1.
    """
    if not isinstance(off, int | float) or not 0.0 < off < 1.0:
        raise SpaceError(f"off is {off!r}; expected a probability between 0 and 1, both excluded")
    return float(off)


def checked_flag(name: str, flag: object) -> bool:
    """Return a flag.

    Raises:
        SpaceError: It is neither True nor False.
    """
    if not isinstance(flag, bool):
        raise SpaceError(f"{name} is {flag!r}; expected True or False")
    return flag


def document(kind: str, fields: Mapping[str, object]) -> str:
    """Return a space's canonical JSON."""
    return json.dumps({"schema": SCHEMA, "kind": kind} | dict(fields), sort_keys=True, separators=(",", ":"))


def _draw(uniform_number: float, probabilities: Sequence[float]) -> int:
    for token, cumulated in enumerate(accumulate(probabilities)):
        if uniform_number < cumulated:
            return token
    return max(t for t, p in enumerate(probabilities) if p > 0)


_SCHEDULE = uniform("", "schedule", SCHEDULES)
