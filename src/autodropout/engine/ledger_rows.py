"""What a row of the ledger's tables is: plain columns to records."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from autodropout.engine.base import Scored
from autodropout.engine.ledger_records import StudyRecord, result_from_json
from autodropout.policy import Policy
from autodropout.result import Trial

Decode = Callable[[tuple[int, ...]], Policy]

_DOCUMENTS = ("settings", "options", "versions", "machine", "halving", "warm")


def study_of(row: Mapping[str, Any]) -> StudyRecord:
    """Return the study of the row of the table ``study``."""
    fields = {name: value for name, value in row.items() if name != "one"}
    for name in _DOCUMENTS:
        fields[name] = None if fields[name] is None else json.loads(fields[name])
    fields["common_seed"] = bool(fields["common_seed"])
    return StudyRecord(**fields)


def trial_of(row: Mapping[str, Any], decode: Decode) -> Trial:
    """Return the trial of a row of the table ``trials``."""
    tokens = tuple(json.loads(row["tokens"]))
    return Trial(
        id=row["id"],
        kind=row["kind"],
        tokens=tokens,
        policy=decode(tokens),
        log_prob=row["log_prob"],
        seed=row["seed"],
        state=row["state"],
        attempt=row["attempt"],
        update=row["updates_made"],
        result=None if row["result"] is None else result_from_json(row["result"]),
        reward=row["reward"],
        error=row["error"],
        budget=row["budget"],
    )


def scored_of(row: Mapping[str, Any]) -> Scored:
    """Return the trial of a row as searchers are taught it."""
    return Scored(
        trial=row["id"],
        tokens=tuple(json.loads(row["tokens"])),
        log_prob=row["log_prob"],
        reward=row["reward"],
        floored=bool(row["floored"]),
        update=row["updates_made"],
    )
