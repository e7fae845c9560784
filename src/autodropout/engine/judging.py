"""What an attempt's outcome means for its trial: done, once more, or given up."""

import math
from dataclasses import dataclass

from autodropout.engine.executors.base import Done, Lost, Outcome, Raised, TimedOut
from autodropout.engine.ledger_records import Cause
from autodropout.result import Result

_MOST_FAULTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The trial is done; if it diverged, it is worth the floor reward."""

    result: Result
    diverged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The trial is to be run again, same id, seed and tokens."""

    cause: Cause
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """The trial has failed; it is taught the floor reward unless the machine was at fault."""

    cause: Cause
    error: str


Verdict = Finished | Again | GivenUp


def judge(outcome: Outcome, *, lost: int, faults: int, max_attempts: int) -> Verdict:
    """Say what becomes of a trial after this outcome.

    A lost worker is the machine's fault: again, until ``max_attempts`` attempts were lost. An exception
    or a timeout may be the policy's: once more, then given up. A reward that is not finite is a result.

    Args:
        outcome: How the attempt ended.
        lost: Attempts that the machine lost before it.
        faults: Attempts that raised or ran out of time before it.
        max_attempts: Most attempts that may be lost, at least 1; 1 also forbids a second try after a fault.
    """
    match outcome:
        case Done(result=result):
            return Finished(result=result, diverged=not math.isfinite(result.reward))
        case Lost(reason=reason):
            return _verdict("lost", reason, lost + 1 < max_attempts)
        case Raised(error=error):
            return _verdict("raised", error, faults + 1 < min(_MOST_FAULTS, max_attempts))
        case TimedOut(seconds=seconds):
            error = f"ran into its time limit after {seconds:{'.0f' if seconds >= 1 else '.2g'}} s"
            return _verdict("timeout", error, faults + 1 < min(_MOST_FAULTS, max_attempts))


def _verdict(cause: Cause, error: str, again: bool) -> Verdict:
    return Again(cause=cause, error=error) if again else GivenUp(cause=cause, error=error)
