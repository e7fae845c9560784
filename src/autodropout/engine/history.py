"""A searcher's state from a ledger: quickly from a snapshot, or from the whole history."""

import os
from pathlib import Path

from autodropout.engine.base import Searcher
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import StudyRecord
from autodropout.engine.searchers import make_searcher
from autodropout.errors import LedgerError
from autodropout.space_json import space_from_json


def replay(out: str | os.PathLike[str], searcher: Searcher | None = None) -> Searcher:
    """Rebuild a study's searcher from its history alone: the first state and every lesson since.

    On the machine type where the search ran this gives its state bit for bit.

    Args:
        out: Directory of the study; a search may be running in it.
        searcher: A searcher like the study's, whose state is overwritten; None makes it by its name.

    Returns:
        The searcher.

    Raises:
        LedgerError: There is no study, or its ledger is damaged.
    """
    with LedgerReader.open(Path(out)) as reader:
        searcher = searcher or searcher_of(reader.study())
        _rebuild(reader, searcher, from_first=True)
    return searcher


def restore(reader: LedgerReader, searcher: Searcher) -> None:
    """Bring a searcher to the state after the ledger's last update, from its newest snapshot."""
    _rebuild(reader, searcher, from_first=False)


def searcher_of(study: StudyRecord) -> Searcher:
    """Make the study's searcher anew, by its name and settings.

    Raises:
        LedgerError: No searcher that the library knows has that name or takes these settings.
    """
    try:
        return make_searcher(
            study.searcher,
            space_from_json(study.space),
            seed=study.seed,
            trials=study.planned,
            settings=study.settings,
        )
    except ValueError as error:
        raise LedgerError(
            f"the study's searcher {study.searcher!r} cannot be made again ({error}); pass one like it"
        ) from error


def _rebuild(reader: LedgerReader, searcher: Searcher, *, from_first: bool) -> None:
    number, snapshot = reader.snapshot(first=from_first)
    searcher.restore(snapshot)
    for lesson in reader.lessons(after=number):
        searcher.learn(lesson)
