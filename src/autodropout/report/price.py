"""What a gain of one percent has cost: the search's compute over what its policy is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from autodropout.report.costs import Costs
from autodropout.report.curves import Progress
from autodropout.report.record import Record
from autodropout.significance import Paired, paired_difference

POLICY, NONE = "policy", "none"
"""Arms of a comparison beside the search."""


class Compared(Protocol):
    """The figures of arms on common seeds; a ``Comparison`` has them."""

    @property
    def figure(self) -> str:
        """What was measured."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better."""
        ...

    @property
    def values(self) -> Mapping[str, tuple[float | None, ...]]:
        """Figure per seed for every arm; None where it is missing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one percent of a figure has cost.

    Attributes:
        figure: What is measured in percent, in words.
        over: What the gain is measured against, in words.
        gain: Percent of the reference's value by which the policy is better; negative if it is worse.
        low: Lower end of the gain's interval; None without one.
        high: Upper end, likewise.
        spent: Seconds of workers that the search took.
        trainings: Trials that the search ran.
    """

    figure: str
    over: str
    gain: float
    low: float | None
    high: float | None
    spent: float
    trainings: int

    @property
    def seconds(self) -> float | None:
        """Seconds of workers per percent; None where nothing was gained, so that there is no price."""
        return self.spent / self.gain if self.gain > 0.0 else None

    @property
    def seconds_at_most(self) -> float | None:
        """The same at the gain's lower end; None where that shows no gain: the price has no upper bound."""
        return self.spent / self.low if self.low is not None and self.low > 0.0 else None

    @property
    def runs(self) -> float | None:
        """Trainings per percent, which do not depend on how fast the machine was; None without a gain."""
        return self.trainings / self.gain if self.gain > 0.0 else None


def price(record: Record, costs: Costs, shown: Progress) -> Price | None:
    """Return the price of one percent, as far as the study knows it.

    Where a comparison beside the study has the arms ``"policy"`` and ``"none"``, the gain is that of held-out
    figures on fresh seeds. Else it is that of the best policy's confirmed reward over the mean reward of
    policies that no learning had touched: flattering, since the best of several means is chosen by itself.
    Without a confirmation there is no price, nor where all trials of the search had one seed: the
    confirmation has others, and what seeds do to all policies alike would count as gain.
    """
    if record.comparison is not None and (found := compared_price(record.comparison, costs)) is not None:
        return found
    random = shown.random.summary
    if record.study.common_seed:
        return None
    if random is None or random.mean == 0.0 or record.best is None or not record.best.rewards:
        return None
    return Price(
        figure="confirmed reward",
        over="the mean policy before the first update",
        gain=100.0 * (record.best.reward - random.mean) / abs(random.mean),
        low=None,
        high=None,
        spent=costs.workers * costs.wall,
        trainings=costs.trials,
    )


def compared_price(
    comparison: Compared, costs: Costs, arm: str = POLICY, reference: str = NONE
) -> Price | None:
    """Return the price of one percent by which an arm is better than another, on the same seeds.

    Args:
        comparison: Holds both arms.
        costs: Of the search that found the arm's policy.
        arm: What was gained.
        reference: What it is measured against; its mean is 100 percent.

    Returns:
        None if an arm is missing, has no seed in common with the other, or the reference's mean is 0.
    """
    values = comparison.values
    pairs = [
        (a, b)
        for a, b in zip(values.get(arm, ()), values.get(reference, ()), strict=False)
        if a is not None and b is not None
    ]
    whole = abs(sum(b for _, b in pairs)) / len(pairs) if pairs else 0.0
    if whole == 0.0:
        return None
    paired = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    gain, low, high = _percent(paired, whole, comparison.higher_is_better)
    return Price(
        figure=f"{comparison.figure} on fresh seeds",
        over=f"the arm {reference!r}",
        gain=gain,
        low=low,
        high=high,
        spent=costs.workers * costs.wall,
        trainings=costs.trials,
    )


def _percent(paired: Paired, whole: float, higher: bool) -> tuple[float, float | None, float | None]:
    factor = 100.0 / whole
    if higher:
        ends = paired.low, paired.high
    else:
        factor, ends = -factor, (paired.high, paired.low)
    low, high = (None if end is None else factor * end for end in ends)
    return factor * paired.difference, low, high
