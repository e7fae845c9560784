"""A study as its ledger tells it, while it runs and afterwards."""

import os
from functools import cached_property
from pathlib import Path
from typing import Self

from autodropout.engine.confirm import confirmed, unconfirmed_best
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import StudyRecord, Tally, Timing, Update
from autodropout.policy import Policy
from autodropout.result import Confirmed, Trial, TrialKind
from autodropout.space import Space
from autodropout.space_json import space_from_json


class Study:
    """Reads the study in a directory; what it returns is up to date at every call.

    It holds no lock and no open file, so it may outlive the search and be made while one runs.

    Args:
        out: Directory of the study.

    Raises:
        LedgerError: There is no study, or its ledger is damaged or of another schema.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out = Path(out)
        self._policies: dict[tuple[int, ...], Policy] = {}
        self._fixed = self.record

    @classmethod
    def open(cls, out: str | os.PathLike[str]) -> Self:
        """Open the study in a directory; the same as ``Study(out)``."""
        return cls(out)

    def __repr__(self) -> str:
        return f"Study({str(self.out)!r})"

    @property
    def record(self) -> StudyRecord:
        """What the study is, how it is run, and its phase."""
        with self._reader() as reader:
            return reader.study()

    @cached_property
    def space(self) -> Space:
        """What it searches."""
        return space_from_json(self._fixed.space)

    @property
    def task(self) -> str | None:
        """Label of what it trains."""
        return self._fixed.task

    @property
    def seed(self) -> int:
        """Seed of the whole study."""
        return self._fixed.seed

    @property
    def finished(self) -> bool:
        """Whether all that was asked for has been done, confirmation included."""
        return self.record.phase == "done"

    @property
    def trials(self) -> tuple[Trial, ...]:
        """All trials by number, those of the confirmation among them: ``trial.kind`` tells."""
        with self._reader() as reader:
            return reader.trials(self._decode)

    @property
    def timings(self) -> tuple[Timing, ...]:
        """When each trial was proposed, started, ended and taught, by number."""
        with self._reader() as reader:
            return reader.timings()

    @property
    def updates(self) -> tuple[Update, ...]:
        """All updates of the searcher, with its figures, in order."""
        with self._reader() as reader:
            return reader.updates()

    @property
    def confirmed(self) -> tuple[Confirmed, ...]:
        """The policies whose confirmation is complete, highest mean first."""
        with self._reader() as reader:
            return confirmed(reader, self.space)

    @property
    def best(self) -> Confirmed | None:
        """The confirmed policy with the highest mean reward.

        Before any confirmation is complete, or without one, it is the policy of the single best search
        trial: its ``rewards`` are then empty, and its ``reward``, which chose it, is optimistic. None if
        no trial has returned a finite reward.
        """
        with self._reader() as reader:
            found = confirmed(reader, self.space)
            return found[0] if found else unconfirmed_best(reader, self.space)

    def trial(self, number: int) -> Trial:
        """Return one trial.

        Raises:
            LedgerError: There is no such trial.
        """
        with self._reader() as reader:
            return reader.trial(number, self._decode)

    def tally(self, kind: TrialKind = "search") -> Tally:
        """Count the trials of a kind by state; cheap, whatever their number."""
        with self._reader() as reader:
            return reader.tally(kind)

    def _reader(self) -> LedgerReader:
        return LedgerReader.open(self.out)

    def _decode(self, tokens: tuple[int, ...]) -> Policy:
        if tokens not in self._policies:
            self._policies[tokens] = self.space.decode(tokens)
        return self._policies[tokens]
