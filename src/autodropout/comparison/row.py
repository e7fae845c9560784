"""One arm of a comparison, in figures."""

from dataclasses import dataclass

from autodropout.significance import Paired, Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One arm.

    Attributes:
        name: The arm.
        missing: Runs without a figure: diverged, failed, or not yet run.
        floored: Runs that diverged and count as the floor.
        error: What went wrong in the last of these runs; None if nothing did.
        summary: Mean, spread and interval; None if no run has a figure.
        against: The baseline with the best mean, this arm aside; None if there is none.
        paired: Difference to it over the seeds on which both have a figure; None if there is none.
        adjusted_p: Its p-value after Holm's adjustment over all differences of the table.
        seconds: Mean training time; None if nobody measured it.
        parameters: Mean of the metric ``"parameters"``; None if no run returned it.
    """

    name: str
    missing: int
    floored: int
    error: str | None
    summary: Summary | None
    against: str | None
    paired: Paired | None
    adjusted_p: float | None
    seconds: float | None
    parameters: float | None
