"""Searchers of a comparison that are done, kept in a folder so that one that was stopped goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import quote

import numpy as np

from autodropout.atomic import write_text
from autodropout.benchmark.account import ALIKE, check_alike, document
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.racing import Runs
from autodropout.benchmark.simulating import Simulated
from autodropout.benchmark.variants import Variant
from autodropout.errors import DataError, UsageError

_SHARED = (*ALIKE, "versions")
_SUFFIX = ".json"


class Finished:
    """A folder with one file per searcher that is done; the folder is of one comparison.

    Args:
        folder: Made when the first searcher is done.
        benchmark: The landscape.
        plan: What is run.
    """

    def __init__(self, folder: Path, benchmark: Benchmark, plan: Plan) -> None:
        self.folder, self._since = folder, perf_counter()
        facts = document(benchmark, plan, (), seconds=0.0)
        self._shared = {name: facts[name] for name in _SHARED}
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

    def read(self) -> dict[str, Runs]:
        """Return what is kept of the plan's searchers, by name.

        Raises:
            UsageError: The folder is of a comparison that was asked for otherwise.
            DataError: A file is damaged.
        """
        kept: dict[str, Runs] = {}
        for file in sorted(self.folder.glob(f"*{_SUFFIX}")):
            try:
                self._take(file, json.loads(file.read_text(encoding="utf8")), kept)
            except UsageError:
                raise
            except (ValueError, LookupError, TypeError) as error:
                raise DataError(f"{file} is damaged; remove it, and its searcher is run again") from error
        return kept

    def _take(self, file: Path, facts: Mapping[str, Any], kept: dict[str, Runs]) -> None:
        check_alike(file, facts, self._shared, _SHARED)
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
        self._seconds[variant.name], self._since = now - self._since, now
        facts = {
            **self._shared,
            "variant": asdict(variant),
            "seconds": self._seconds[variant.name],
            "runs": {trials: _plain(run) for trials, run in runs.items()},
        }
        file = self.folder / f"{quote(variant.name, safe='')}{_SUFFIX}"
        try:
            self.folder.mkdir(exist_ok=True)
            write_text(file, json.dumps(facts, allow_nan=False) + "\n")
        except OSError as error:
            raise UsageError(f"{file} cannot be written ({error.strerror}); name another file") from error

    def clear(self) -> None:
        """Remove the folder's files, and the folder if nothing else is in it."""
        for file in self.folder.glob(f"*{_SUFFIX}"):
            file.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


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
