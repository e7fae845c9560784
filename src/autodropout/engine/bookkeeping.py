"""What searchers without a network have in common: checked numbers, and states kept as JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from autodropout.engine.base import Scored
from autodropout.errors import LedgerError, UsageError


def checked_whole(name: str, number: object, least: int) -> int:
    """Return a setting that is a whole number.

    Raises:
        UsageError: It is none, or below ``least``.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise UsageError(f"{name} is {number!r}; expected a whole number >= {least}")
    return number


def check_number(trials: Sequence[Scored], batch: int) -> None:
    """Refuse a wrong number of trials.

    Raises:
        UsageError: There are not ``batch`` trials.
    """
    if len(trials) != batch:
        raise UsageError(f"got {len(trials)} trials to learn from; an update takes exactly {batch}")


def figures_of(trials: Sequence[Scored], updates: int) -> Mapping[str, float]:
    """Return the figures that every update has: ``mean_reward`` and ``updates``."""
    mean = sum(trial.reward for trial in trials) / len(trials)
    return {"mean_reward": mean, "updates": float(updates)}


def write_state(searcher: str, state: Mapping[str, object]) -> bytes:
    """Return a state as JSON that says whose it is."""
    return json.dumps({"searcher": searcher} | dict(state), separators=(",", ":")).encode()


def read_state(snapshot: bytes, searcher: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return the state that ``write_state`` made.

    Raises:
        LedgerError: It is damaged, of another searcher, or has other fields.
    """
    try:
        state: object = json.loads(snapshot)
    except ValueError as error:
        raise LedgerError(f"the searcher's snapshot is damaged ({error}); replay its updates") from error
    if isinstance(state, dict) and state.get("searcher") == searcher and set(state) == {"searcher", *fields}:
        return state
    raise LedgerError(f"the searcher's snapshot is not of the searcher {searcher!r}; replay its updates")
