"""The driver that is to be killed: a search whose trials misbehave, under a clock that jumps."""

import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unittest.mock import patch

from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.run import search
from autodropout.errors import LedgerError, StudyError
from autodropout.token_space import TokenSpace
from chaos_trials import Trials, schedule

SPACE = TokenSpace(sites=("query", "ffn"))
BATCH = 4

_MOST_TRIALS = 4_000

STOPPED, NO_LEDGER, NO_STUDY, UNFORESEEN = 11, 12, 13, 14
"""Exit codes: stopped by a signal; the ledger cannot be used; trials go wrong one after the other, or the
cluster does not answer; any other exception."""

ExecutorName = Literal["local", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A search that is to be thrown things at.

    Attributes:
        folder: Of everything: ``study`` is the search's directory, the rest the witness's.
        trials: Search trials.
        executor: What runs them.
        workers: Processes; those of a Ray cluster are its nodes'.
        address: Of the Ray cluster.
        seconds: Length of a trial.
        timeout: Seconds after which a trial is killed.
        every: One search trial of so many misbehaves.
        seed: Of everything.
    """

    folder: Path
    trials: int
    executor: ExecutorName = "local"
    workers: int = 3
    address: str | None = None
    seconds: float = 0.05
    timeout: float = 1.5
    every: int = 4
    seed: int = 7

    @property
    def out(self) -> Path:
        """The search's directory."""
        return self.folder / "study"

    @property
    def kinds(self) -> dict[int, str]:
        """How trials misbehave, by seed; the same however many trials there are."""
        return schedule(self.seed, _MOST_TRIALS, self.every)


class JumpingClock:
    """Stands for ``time.time``: now and then it is set, mostly back, by up to a day.

    Args:
        seed: Of its jumps.
        log: File that gets a line for each of them, in seconds.
    """

    def __init__(self, seed: int, log: Path) -> None:
        self._real, self._rng, self._offset = time.time, random.Random(seed), 0.0
        self._log, self._calls = log, self._wait()

    def __call__(self) -> float:
        """Return what the clock on the wall says."""
        self._calls -= 1
        if self._calls == 0:
            self._jump(self._rng.uniform(-86_400.0, 3_600.0))
            self._calls = self._wait()
        return self._real() + self._offset

    def _wait(self) -> int:
        return self._rng.randint(1, 40)

    def _jump(self, seconds: float) -> None:
        self._offset += seconds
        with suppress(OSError), open(self._log, "a", encoding="utf8") as file:  # no file may grow
            file.write(f"{seconds:.0f}\n")


def set_back(folder: Path) -> int:
    """Return how often the clock was set back."""
    path = jumps(folder)
    lines = path.read_text(encoding="utf8").split() if path.exists() else []
    return sum(float(line) < 0.0 for line in lines)


def jumps(folder: Path) -> Path:
    """Return the file that tells of the clock's jumps."""
    return folder / "clock"


def drive(config: Config) -> None:
    """Search until the end or until something goes wrong; exit with a code that says what.

    Texts of errors go to ``errors.jsonl``.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("ignore")
    try:
        with patch("time.time", JumpingClock(os.getpid(), jumps(config.folder))):
            _search(config)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search has ended: nothing is left to interrupt
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    except (LedgerError, StudyError) as error:
        _tell(config.folder, error)
        sys.exit(NO_LEDGER if isinstance(error, LedgerError) else NO_STUDY)
    except Exception as error:  # to be told from a process that Ray's own code ends, with exit code 1
        _tell(config.folder, error)  # before printing: standard error may be a file that may not grow
        traceback.print_exc()
        sys.exit(UNFORESEEN)


def _tell(folder: Path, error: Exception) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # our own report is no part of the search
    with open(folder / "errors.jsonl", "a", encoding="utf8") as file:
        file.write(json.dumps({"error": type(error).__name__, "text": str(error)}) + "\n")


def _search(config: Config) -> None:
    search(
        Trials(folder=config.folder, kinds=config.kinds, seconds=config.seconds),
        SPACE,
        trials=config.trials,
        batch=BATCH,
        out=config.out,
        seed=config.seed,
        executor=config.executor,
        workers=config.workers,
        cluster=Cluster(address=config.address),
        timeout=config.timeout,
        max_attempts=5,
        floor=0.0,
        confirm=Confirmation(top=2, seeds=2),
    )
