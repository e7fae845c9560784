"""A warm start: a searcher learns from the trials of an earlier study before it proposes anything."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

from autodropout.engine.base import Scored, Searcher
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import StudyRecord
from autodropout.errors import UsageError
from autodropout.space import Space


@runtime_checkable
class Pretrainable(Protocol):
    """A searcher that can learn from what other searchers proposed."""

    def pretrain(self, trials: Sequence[Scored]) -> None:
        """Learn from trials of another study, oldest first, and be in a first state all the same.

        The log-probabilities are those under which they were drawn there, None where there are none.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An earlier study, and those of its trials that were worth something to its own searcher.

    Attributes:
        out: Its directory.
        study: What it is.
        trials: Its trials with a reward, in the order in which they ended.
    """

    out: Path
    study: StudyRecord
    trials: tuple[Scored, ...]

    @classmethod
    def read(cls, out: str | os.PathLike[str], space: Space) -> Self:
        """Read a study that searched this space; a search may be running there.

        Raises:
            UsageError: It searched another space.
            LedgerError: There is no study, or its ledger is damaged.
        """
        with LedgerReader.open(Path(out)) as reader:
            study, trials = reader.study(), reader.rewarded()
        if different := _differences(json.loads(study.space), json.loads(space.to_json())):
            raise UsageError(
                f"the study in {out} searched another space (it differs in {', '.join(different)}); a warm "
                "start needs the same"
            )
        return cls(out=Path(out), study=study, trials=trials)

    def check(self, searcher: Searcher) -> Pretrainable:
        """Return the searcher, as one that can learn from it.

        Raises:
            UsageError: There are too few trials, or the searcher learns nothing.
        """
        if not isinstance(searcher, Pretrainable):
            raise UsageError(
                f"the searcher {searcher.name!r} learns nothing from other studies; leave warm_start out, or "
                "choose another searcher, such as 'reinforce'"
            )
        if len(self.trials) < searcher.batch:
            raise UsageError(
                f"the study in {self.out} has {len(self.trials)} trials with a reward; the searcher "
                f"{searcher.name!r} learns from {searcher.batch} at a time, so begin without a warm start"
            )
        return searcher

    def teach(self, searcher: Searcher) -> None:
        """Let a new searcher learn from it.

        Its state afterwards is the new study's first state and is kept in the new ledger, so that resuming
        and replaying need the earlier study no more.

        Raises:
            UsageError: As ``check``.
        """
        self.check(searcher).pretrain(self.trials)

    def to_plain(self) -> dict[str, Any]:
        """Return what the new ledger keeps about it: plain JSON values."""
        return {
            "out": place_of(self.out),
            "task": self.study.task,
            "searcher": self.study.searcher,
            "seed": self.study.seed,
            "created": self.study.created,
            "trials": len(self.trials),
        }


def place_of(out: str | os.PathLike[str]) -> str:
    """Return how a ledger names the directory of an earlier study."""
    return str(Path(out).absolute())


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)]
