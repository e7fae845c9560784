"""The directories that users name: what is in them, and how to go on there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from autodropout.cli.terminal import command
from autodropout.errors import UsageError

if TYPE_CHECKING:
    from autodropout.engine.ledger_records import StudyRecord


def check_study(out: Path) -> None:
    """Refuse a directory without a study.

    Raises:
        UsageError: It holds none, or may not be looked into.
    """
    from autodropout.engine.ledger_schema import LEDGER_FILE

    with _looking_into(out):
        there = (out / LEDGER_FILE).is_file()
    if not there:
        raise UsageError(
            f"{out} holds no study (there is no {LEDGER_FILE}); check its name, or begin one with: "
            f"{command('search')}"
        )


def check_place(out: Path) -> None:
    """Refuse a path that can be no directory, whether or not it is there.

    Raises:
        UsageError: A file is in the way, or the directory may not be looked into.
    """
    from autodropout.engine.ledger_schema import LEDGER_FILE

    with _looking_into(out):
        (out / LEDGER_FILE).exists()
        file = next((path for path in (out, *out.parents) if path.is_file()), None)
    if file is not None:
        raise UsageError(f"{file} is a file; expected a directory, so name another")


@contextmanager
def claimed(name: str) -> Iterator[Path]:
    """Make a new directory of this name under ``runs/``; it goes again if nothing is put into it."""
    from autodropout.engine.beginning import new_directory

    out = new_directory(name)
    try:
        yield out
    finally:
        with suppress(OSError):  # it is not empty: what was begun there stays
            os.removedirs(out)


def is_running(out: Path) -> bool:
    """Say whether a search or comparison holds the directory's lock.

    Where this process may not write, no other of this user runs.

    Raises:
        UsageError: The lock cannot be tried.
    """
    from filelock import FileLock, Timeout

    from autodropout.engine.lock import LOCK_FILE

    if not (out / LOCK_FILE).exists():
        return False
    try:
        with FileLock(out / LOCK_FILE, timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS):
            return False
        raise UsageError(f"{out} cannot be looked into ({error.strerror}); check its permissions") from error


def how_to_go_on(out: Path, record: "StudyRecord") -> str:
    """Say how to go on with the search or comparison in a directory: a command, or a script's own."""
    from autodropout.comparison.kept import COMPARISON

    if record.searcher == COMPARISON:
        return record.command
    if record.task is None:
        return "the script or notebook that began it, run again"
    return command("resume", out)


@contextmanager
def _looking_into(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{out} cannot be looked into ({error.strerror}); check its permissions") from error
