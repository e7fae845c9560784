"""The search space for sequences: five decisions per role (AutoDropout, Figure 4, plus the rate)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, Self

from autodropout.errors import SpaceError
from autodropout.pattern import Pattern, TokenPattern
from autodropout.policy import ROLES
from autodropout.space import (
    Choice,
    Space,
    Value,
    checked,
    checked_flag,
    checked_numbers,
    checked_off,
    document,
    token_of,
    uniform,
)
from autodropout.tilt import tilted


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenSpace(Space):
    """Policies of ``TokenPattern``: size, stride, share_t, share_c and rate per site.

    Among the standard values searches of up to 128 trials did better than among all that ``wide`` has, on a
    released landscape (docs/decisions.md).

    Attributes:
        sites: Roles (``"query"`` stands for the key ``"role:query"``) or other keys.
        sizes: Affected tokens per block, or ``"whole"``. "Off" is always there and comes first.
        strides: Skipped tokens between blocks.
        rates: Probability that a unit of an affected token is dropped.
        residual_rates: The same at the role ``residual``, which bears only gentle rates.
        schedule: Decide the policy's schedule, too.
        off: Probability of "off" in the controller's starting bias.

    Raises:
        SpaceError: The sites or a list of values are empty, repeated or out of range.

    Example:
        >>> TokenSpace(sites=("query", "ffn")).cardinalities
        (4, 1, 2, 2, 6, 4, 1, 2, 2, 6)
    """

    sites: Sequence[str]
    sizes: Sequence[int | Literal["whole"]] = (1, 4, "whole")
    strides: Sequence[int] = (0,)
    rates: Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
    residual_rates: Sequence[float] = (0.02, 0.05, 0.1, 0.15)
    schedule: bool = False
    off: float = 0.5

    def __post_init__(self) -> None:
        for name in ("sites", "sizes", "strides"):
            object.__setattr__(self, name, checked(name, getattr(self, name)))
        if 0 in self.sizes:
            raise SpaceError("sizes has 0, which is off; off is always there, so leave it out")
        for name in ("rates", "residual_rates"):
            object.__setattr__(self, name, checked_numbers(name, getattr(self, name), 1e-6, 1.0))
        checked("sites with their roles written out", [_key(site) for site in self.sites])
        object.__setattr__(self, "off", checked_off(self.off))
        checked_flag("schedule", self.schedule)
        self._probe()

    @classmethod
    def wide(cls, sites: Sequence[str], **changes: Any) -> Self:
        """Return a space with every kind of value: blocks of 1 to 16 tokens, 0 to 8 skipped between them.

        It asks for more trials than the standard one.

        Args:
            sites: Roles or other keys.
            changes: Other fields.

        Raises:
            SpaceError: A value is out of range.

        Example:
            >>> TokenSpace.wide(("query",)).cardinalities
            (7, 5, 2, 2, 6)
        """
        every: dict[str, Any] = {"sizes": (1, 2, 4, 8, 16, "whole"), "strides": (0, 1, 2, 4, 8)}
        return cls(sites=sites, **every | changes)

    @property
    def searches_schedule(self) -> bool:
        """Whether the last decision is the policy's schedule."""
        return self.schedule

    @cached_property
    def site_choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """Choices of each site: size, stride, share_t, share_c, rate."""
        return {key: self._choices(key) for key in map(_key, self.sites)}

    def to_json(self) -> str:
        """Return canonical JSON that ``space_from_json`` reads."""
        return document("token", {f.name: getattr(self, f.name) for f in fields(self)})

    def _choices(self, key: str) -> tuple[Choice, ...]:
        rates = self.residual_rates if key == "role:residual" else self.rates

        def drop_rate(tokens: tuple[int, ...]) -> list[float]:
            size, stride, rate = (
                v[t] for v, t in zip((self.sizes, self.strides, rates), tokens, strict=True)
            )
            return [TokenPattern(size=size, stride=stride, rate=rate).drop_rate()]  # type: ignore[arg-type]

        size, stride, rate = tilted([len(self.sizes), len(self.strides), len(rates)], drop_rate)
        share = 1.0 - self.off
        return (
            Choice(
                site=key,
                name="size",
                values=(0, *self.sizes),
                prior=(self.off, *(share * p for p in size)),
            ),
            Choice(site=key, name="stride", values=tuple(self.strides), prior=stride),
            uniform(key, "share_t", (False, True)),
            uniform(key, "share_c", (False, True)),
            Choice(site=key, name="rate", values=tuple(rates), prior=rate),
        )

    def _pattern(self, site: str, values: Sequence[Value]) -> Pattern:
        chosen: dict[str, Any] = {c.name: v for c, v in zip(self.site_choices[site], values, strict=True)}
        return TokenPattern(**chosen)

    def _site_tokens(self, site: str, pattern: Pattern) -> tuple[int, ...]:
        if not isinstance(pattern, TokenPattern):
            raise SpaceError(f"{site!r} has a ConvPattern; this is a space of TokenPattern")
        return tuple(token_of(choice, getattr(pattern, choice.name)) for choice in self.site_choices[site])


def _key(site: str) -> str:
    return f"role:{site}" if site in ROLES else site
