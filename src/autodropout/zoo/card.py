"""What is known about a policy of the zoo."""

from dataclasses import dataclass
from typing import Literal, get_args

from autodropout.errors import UsageError

Kind = Literal["found", "method", "words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The search that found a policy.

    Attributes:
        task: Key of the task.
        searcher: Who searched.
        trials: Search trials.
        confirmations: Trainings that confirmed the best policies.
        reward: Mean reward of the policy in its confirmation.
        command: What ran it.
    """

    task: str
    searcher: str
    trials: int
    confirmations: int
    reward: float
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm of the comparison that a policy won.

    Attributes:
        name: Of the arm, with the strength that was tuned.
        mean: Of the held-out figure over all seeds.
        spread: Its standard deviation between seeds.
        behind: The policy's figure minus this arm's, paired by seed, with the ends of its 95% interval; None
            of the policy itself.
        p: Two-sided paired t-test of that, not adjusted; None of the policy itself.
    """

    name: str
    mean: float
    spread: float
    behind: tuple[float, float, float] | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How a policy did on held-out data, on seeds that neither search nor tuning had seen.

    Attributes:
        figure: What was measured, such as ``"accuracy"``.
        higher_is_better: Whether more of it is better.
        seeds: Trainings of each arm, paired by seed.
        arms: All arms, the policy's own last.
        against: The best baseline.
        difference: Policy minus best baseline.
        low: Lower end of its 95% interval.
        high: Upper end.
        p: Two-sided paired t-test, adjusted for the number of arms (Holm).
        command: What ran it.
    """

    figure: str
    higher_is_better: bool
    seeds: int
    arms: tuple[Arm, ...]
    against: str
    difference: float
    low: float
    high: float
    p: float
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What stands beside a policy in the zoo.

    Attributes:
        name: Word for it.
        kind: ``"found"`` by a search and better than whatever no search found; ``"method"``, a known method
            as a policy; ``"words"``, after what a paper says in words.
        summary: One line.
        fits: Models that its keys are for.
        source: Paper or command that it comes from.
        licence: Of the policy's file.
        searched: The search, for those that were found.
        evidence: The comparison that it won, for those that were found.

    Raises:
        UsageError: The kind is unknown, or a found policy lacks its search or evidence.
    """

    name: str
    kind: Kind
    summary: str
    fits: str
    source: str
    licence: str = "Apache-2.0"
    searched: Searched | None = None
    evidence: Evidence | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UsageError(f"kind is {self.kind!r}; expected one of {', '.join(get_args(Kind))}")
        if self.kind == "found" and (self.searched is None or self.evidence is None):
            raise UsageError(f"the found policy {self.name!r} lacks its search or its evidence; give both")
