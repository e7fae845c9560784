"""What a comparison's ledger keeps of what was asked for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.errors import UsageError
from autodropout.policy import Policy

COMPARISON = "compare"
"""What a comparison's ledger holds where that of a search has the name of its searcher, and the name of a
comparison's directory beside a search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What makes a comparison that comparison, as its ledger tells it.

    Attributes:
        task: Label of what is trained.
        seed: Seed that all seeds follow from.
        seeds: On how many every arm is trained.
        arms: By name: a policy, or the word ``"none"`` or ``"function"``.
    """

    task: str | None
    seed: int
    seeds: int
    arms: Mapping[str, Policy | str]


def kept(out: Path) -> Kept | None:
    """Return what the comparison in a directory was asked for; None if nothing is there.

    Raises:
        UsageError: The directory holds a search.
        LedgerError: Its ledger is damaged.
    """
    if not (out / LEDGER_FILE).is_file():
        return None
    with LedgerReader.open(out) as reader:
        study = reader.study()
    if study.searcher != COMPARISON:
        raise UsageError(f"{out} holds a search; name another directory for the comparison")
    arms = arms_from_json(study.space)
    return Kept(task=study.task, seed=study.seed, seeds=study.trials // len(arms), arms=arms)


def arms_from_json(text: str) -> dict[str, Policy | str]:
    """Return the arms that a ledger names where that of a search has its space."""
    return {
        name: Policy.from_json(json.dumps(arm)) if isinstance(arm, dict) else arm
        for name, arm in json.loads(text)["arms"].items()
    }
