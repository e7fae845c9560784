"""What ``autodropout doctor`` looks at, one finding per check."""

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autodropout.errors import AutoDropoutError

State = Literal["ok", "warn", "fail"]

_MIB, _GIB = 2**20, 2**30
_SYNCS = 15
_SLOW_SYNC = 0.05  # seconds: a trial takes three, which the loop waits for
_ELSEWHERE = "choose another directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found.

    Attributes:
        name: What was looked at.
        state: ``"fail"`` if a search would not run, ``"warn"`` if it would run badly.
        text: What was found.
        remedy: What to do about it; empty if nothing is to be done.
        facts: The same in numbers, for a machine.
    """

    name: str
    state: State
    text: str
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


Check = Callable[[], Finding]


def findings(checks: dict[str, Check]) -> Iterator[Finding]:
    """Run checks one after the other; one that cannot be made is a finding, too."""
    for name, check in checks.items():
        try:
            yield check()
        except (AutoDropoutError, OSError, sqlite3.Error, ImportError) as error:
            yield Finding(name=name, state="fail", text=" ".join(str(error).split()))


def directory_checks(out: Path) -> dict[str, Check]:
    """Return the checks of the directory that a search would write to; nothing stays in it."""
    there = existing_parent(out)
    return {
        "directory": lambda: _tried("directory", there, lambda: _directory(out, there)),
        "free space": lambda: _space(there),
        "durable writes": lambda: _tried("durable writes", there, lambda: _syncing(there)),
        "locks": lambda: _tried("locks", there, lambda: _locking(there)),
    }


def _tried(name: str, there: Path, check: Check) -> Finding:
    """Make a check that writes; where nothing can be written, as in /proc, say what to do."""
    try:
        return check()
    except OSError as error:
        text = f"nothing can be written to {there} ({error.strerror})"
        return Finding(name=name, state="fail", text=text, remedy=_ELSEWHERE)


def existing_parent(out: Path) -> Path:
    """Return the directory, or the one in which it would be made."""
    return next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())


def _directory(out: Path, there: Path) -> Finding:
    from autodropout.engine.ledger_schema import on_network

    if not there.is_dir():
        return Finding(name="directory", state="fail", text=f"{there} is a file", remedy="name a directory")
    facts: dict[str, Any] = {"path": str(out), "network": on_network(there)}
    if not os.access(there, os.W_OK | os.X_OK):
        text = f"{there} may not be written to"
        return Finding(name="directory", state="fail", text=text, remedy=_ELSEWHERE, facts=facts)
    with tempfile.TemporaryDirectory(dir=there, prefix=".autodropout-"):
        pass
    if facts["network"]:
        text = f"{there} lies on a network file system, which is slow and only as safe as its locks"
        remedy = "choose a local directory, unless nodes of a cluster are to share it"
        return Finding(name="directory", state="warn", text=text, remedy=remedy, facts=facts)
    return Finding(name="directory", state="ok", text=f"{there}, a local file system", facts=facts)


def _space(there: Path) -> Finding:
    system = os.statvfs(there)
    free = system.f_bavail * system.f_frsize
    full = 1.0 - system.f_favail / system.f_files if system.f_files else 0.0
    state: State = "fail" if free < 100 * _MIB or full == 1.0 else "warn" if free < _GIB else "ok"
    return Finding(
        name="free space",
        state=state,
        text=f"{free / _GIB:.1f} GiB" + (", no room for more files" if full == 1.0 else ""),
        remedy="" if state == "ok" else "make room: a search that runs out of it stops (nothing is lost)",
        facts={"bytes": free, "files_used": round(full, 4)},
    )


def _syncing(there: Path) -> Finding:
    with tempfile.NamedTemporaryFile(dir=there, prefix=".autodropout-") as file:
        seconds = []
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    middle = statistics.median(seconds)
    slow = middle > _SLOW_SYNC
    return Finding(
        name="durable writes",
        state="warn" if slow else "ok",
        text=f"{1000 * middle:.2g} ms each, {1000 * max(seconds):.2g} ms at worst; a trial takes three",
        remedy="choose a faster disk if trials take seconds only" if slow else "",
        facts={"median_seconds": middle, "worst_seconds": max(seconds)},
    )


def _locking(there: Path) -> Finding:
    from filelock import FileLock, Timeout

    with tempfile.TemporaryDirectory(dir=there, prefix=".autodropout-") as folder:
        place = Path(folder)
        with FileLock(place / "lock"):
            try:
                with FileLock(place / "lock", timeout=0):
                    held = False
            except Timeout:
                held = True
        with closing(sqlite3.connect(place / "db")) as connection:
            connection.execute("CREATE TABLE t (x)")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    text = f"a second search would be {'refused' if held else 'let in'}; SQLite {sqlite3.sqlite_version}"
    return Finding(
        name="locks",
        state="ok" if held else "fail",
        text=f"{text}, journal {mode}",
        remedy="" if held else "choose a directory on a file system with locks",
        facts={"locks": held, "sqlite": sqlite3.sqlite_version, "journal": mode},
    )
