"""Searchers of a comparison that are done, kept in a folder so that one that was stopped goes on."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import numpy as np
from filelock import FileLock, Timeout

from autodropout.atomic import write_text
from autodropout.benchmark.account import ALIKE, check_alike, document
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.racing import Runs
from autodropout.benchmark.simulating import Simulated
from autodropout.benchmark.variants import Variant
from autodropout.errors import DataError, UsageError

_SUFFIX = ".json"
_LOCK_FILE = "lock"


class Finished:
    """A folder with one file per searcher that is done; the folder is of one comparison.

    Args:
        folder: Made when it is held; its parent exists.
        benchmark: The landscape.
        plan: What is run.
    """

    def __init__(self, folder: Path, benchmark: Benchmark, plan: Plan) -> None:
        self.folder, self._since = folder, perf_counter()
        facts = document(benchmark, plan, (), seconds=0.0)
        self._shared = {name: facts[name] for name in (*ALIKE, "versions")} | {
            "every": plan.every,
            "landscape": hashlib.sha256(benchmark.release.to_text().encode()).hexdigest()[:12],
        }
        self._variants = {variant.name: variant for variant in plan.variants}
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """Wall-clock time that the searchers took that are done; what a stop threw away does not count."""
        return sum(self._seconds.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the searchers that are done."""
        return tuple(self._seconds)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other process keep anything here meanwhile; afterwards an empty folder is removed.

        Raises:
            UsageError: Another process holds the folder, or it cannot be written.
        """
        lock = FileLock(self.folder / _LOCK_FILE)
        try:
            self.folder.mkdir(exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(
                f"another comparison is running that keeps its searchers in {self.folder}; wait for it, stop "
                "it, or name another file"
            ) from error
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            yield
        finally:
            with suppress(OSError):  # it is not empty: what is kept stays
                (self.folder / _LOCK_FILE).unlink(missing_ok=True)
                self.folder.rmdir()
            lock.release()

    def read(self) -> dict[str, Runs]:
        """Return what is kept of the plan's searchers, by name.

        Raises:
            UsageError: The folder is of a comparison that was asked for otherwise.
            DataError: A file is damaged or cannot be read.
        """
        kept: dict[str, Runs] = {}
        for file in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                self._take(file, json.loads(file.read_text(encoding="utf8")), kept)
            except UsageError:
                raise
            except OSError as error:
                raise DataError(
                    f"{file} cannot be read ({error.strerror}); remove it, and its searcher is run again"
                ) from error
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise DataError(f"{file} is damaged; remove it, and its searcher is run again") from error
        return kept

    def _take(self, file: Path, facts: Mapping[str, Any], kept: dict[str, Runs]) -> None:
        check_alike(file, facts, self._shared, tuple(self._shared))
        name = facts["variant"]["name"]
        if name not in self._variants:
            return
        check_alike(file, facts, {"variant": asdict(self._variants[name])}, ("variant",))
        kept[name] = {int(trials): _read(run) for trials, run in facts["runs"].items()}
        self._seconds[name] = float(facts["seconds"])

    def write(self, variant: Variant, runs: Runs) -> None:
        """Keep what a searcher came to.

        Raises:
            UsageError: The file cannot be written.
        """
        now = perf_counter()
        seconds = now - self._since
        facts = {
            **self._shared,
            "variant": asdict(variant),
            "seconds": seconds,
            "runs": {trials: _plain(run) for trials, run in runs.items()},
        }
        file = self.folder / f"{quote(variant.name, safe='')}{_SUFFIX}"
        try:
            self.folder.mkdir(exist_ok=True)
            write_text(file, json.dumps(facts, allow_nan=False) + "\n")
        except OSError as error:
            raise _unwritable(file, error) from error
        self._seconds[variant.name], self._since = seconds, now

    def clear(self) -> None:
        """Remove what is kept."""
        for file in self.folder.glob(f"*{_SUFFIX}"):
            file.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written ({error.strerror}); name another file")


def _plain(run: Simulated) -> dict[str, Any]:
    fields = asdict(run).items()
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields}


def _read(plain: Mapping[str, Any]) -> Simulated:
    return Simulated(
        looks=tuple(plain["looks"]),
        budgets=tuple(plain["budgets"]),
        ended=np.array(plain["ended"]),
        unconfirmed=np.array(plain["unconfirmed"]),
        proposed=np.array(plain["proposed"]),
    )
