"""Categorical parameters of Optuna as the decisions of a controller."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autodropout.space import Choice, uniform

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution


class Parameters:
    """Named categorical parameters, each a decision of its own that is always alive.

    Args:
        distributions: Parameters by name, in the order in which they are decided.
    """

    def __init__(self, distributions: "Mapping[str, CategoricalDistribution]") -> None:
        self.distributions = dict(distributions)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """One decision per parameter, whose values are the indices of its choices."""
        return tuple(uniform(name, name, range(size)) for name, size in self._sizes())

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of choices of each parameter."""
        return tuple(size for _, size in self._sizes())

    @property
    def parents(self) -> tuple[int | None, ...]:
        """None for each: what a trial does not ask for is known only when it has run."""
        return (None,) * len(self)

    def __len__(self) -> int:
        return len(self.distributions)

    def named(self, tokens: Sequence[int]) -> dict[str, int]:
        """Return the index of each parameter's choice by its name."""
        return dict(zip(self.distributions, tokens, strict=True))

    def _sizes(self) -> list[tuple[str, int]]:
        return [(name, len(distribution.choices)) for name, distribution in self.distributions.items()]
