"""What successive halving can be told: how budgets grow and who goes on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from autodropout.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """Short trials first; only the promising go on to a full training (after ASHA, Li et al. 2020).

    Every policy begins on the lowest rung, with the budget ``factor ** (1 - rungs)`` of a full training.
    As soon as a trial ends there it goes on, with the same seed and ``factor`` times the budget, if it is
    among the best 1 / ``factor`` of the last ``window`` trials on its rung; otherwise it is stopped. Where a
    searcher improves so fast that more than that share goes on, the bar rises until the share is kept. A
    stopped trial is taught as what a full training would most likely have given, judged by the trials
    that went all the way. That prediction favours policies that start fast: so a share ``spared`` of those
    to be stopped goes on all the same, and what a searcher with log-probabilities is taught of them stands
    for all like them. What it is taught is then right on average, whoever starts fast (``rungs.py``).

    What a regulariser is worth shows when the network overfits. An evaluation that gets a fraction of its
    steps should get as much less data, or its early rewards may foretell the opposite of full ones
    (docs/search.md).

    Attributes:
        factor: How much a budget grows from rung to rung, and one in how many goes on; at least 2.
        rungs: Budgets, the full one included; at least 2.
        startup: The first so many trials all go on, to learn what early rewards are worth; at least 1.
        window: Trials on a rung that the next one is compared with; at least ``startup``. A longer one lags
            behind a searcher that improves.
        spared: Probability that a trial which is not promising goes on nevertheless, from 0 to below 1. 0
            is ASHA's own: cheaper, and what is taught favours fast starters.

    Raises:
        UsageError: A value is out of range.

    Example:
        >>> Halving(rungs=3).budgets
        (0.1111111111111111, 0.3333333333333333, 1.0)
        >>> round(Halving(rungs=3, spared=0.0).trainings(512))
        180
    """

    factor: int = 3
    rungs: int = 3
    startup: int = 8
    window: int = 24
    spared: float = 0.05

    def __post_init__(self) -> None:
        for name, least in (("factor", 2), ("rungs", 2), ("startup", 1), ("window", self.startup)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"halving.{name} is {value!r}; expected a whole number of at least {least}")
        number = isinstance(self.spared, int | float) and not isinstance(self.spared, bool)
        if not number or not 0.0 <= self.spared < 1.0:
            raise UsageError(f"halving.spared is {self.spared!r}; expected a probability from 0 to below 1")

    @property
    def budgets(self) -> tuple[float, ...]:
        """Budget of each rung, lowest first; the last is 1."""
        return tuple(float(self.factor) ** (rung + 1 - self.rungs) for rung in range(self.rungs))

    @property
    def share(self) -> float:
        """Share of the trials on a rung that is to go on, those spared included."""
        return 1 / self.factor + self.spared * (1 - 1 / self.factor)

    def trainings(self, trials: int) -> float:
        """Return about how many full trainings so many trials cost.

        Each rung trains from the start again; evaluations that go on from a checkpoint cost less.

        Args:
            trials: Policies that are proposed.
        """
        startup = min(trials, self.startup)
        others = sum(self.share**rung * budget for rung, budget in enumerate(self.budgets))
        return startup * sum(self.budgets) + (trials - startup) * others

    def proposals(self, trainings: float) -> int:
        """Return how many policies may be proposed for so many full trainings; the other way round.

        Args:
            trainings: Full trainings that may be spent, from 1 on; for less it returns 1 all the same.
        """
        few, many = 1, max(1, round(trainings / self.budgets[0]))
        while few < many:
            middle = (few + many + 1) // 2
            few, many = (middle, many) if self.trainings(middle) <= trainings else (few, middle - 1)
        return few

    def to_plain(self) -> dict[str, Any]:
        """Return what the ledger keeps: plain JSON values."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return what ``to_plain`` came from."""
        return cls(**plain)
