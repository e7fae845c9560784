"""One search per directory: the lock that whoever writes a ledger holds."""

from pathlib import Path

from filelock import FileLock, Timeout

from autodropout.engine.control import withdraw
from autodropout.errors import LedgerError

LOCK_FILE = "study.lock"

_LOCK_SECONDS = 1.0
"""Whoever looks whether a search is running holds the lock for a moment."""


def locked(out: Path) -> FileLock:
    """Take the lock of a directory, made if it is missing, and withdraw what an earlier loop was asked to do.

    Raises:
        LedgerError: Another search holds it, or the directory cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK_FILE)
        lock.acquire(timeout=_LOCK_SECONDS, poll_interval=0.02)
        try:
            withdraw(out)  # at once: whatever is asked from now on is asked of us
        except BaseException:
            lock.release()
            raise
    except Timeout as error:
        raise LedgerError(
            f"another search is running in {out}; wait for it, stop it, or name another directory"
        ) from error
    except OSError as error:
        raise LedgerError(f"{out} cannot be written ({error}); name a directory that can") from error
    return lock
