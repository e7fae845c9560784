"""Trials that misbehave in every way known to us, and the witness log that tells what really happened."""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodropout.engine.seeds import derived_seed
from autodropout.engine.trial_seeds import trial_seed
from autodropout.policy import Policy

KINDS: Mapping[str, str] = {
    "raise": "raised",
    "hang": "timeout",
    "nan": "diverged",
    "exit": "raised",
    "kill once": "done",
    "memory": "raised",
    "oom": "lost",
    "text": "raised",
    "infinite": "diverged",
    "interrupt": "raised",
    "full disk once": "done",
    "dict": "raised",
    "quit once": "done",
    "huge": "raised",
    "segfault once": "done",
    "abort once": "done",
    "flood": "done",
}
"""How trials misbehave, and what is to become of them; ``"once"`` means at their first attempt only."""

_ROOM = 2**28  # bytes that a trial that exhausts its memory may still take
_GARBAGE: Mapping[str, Any] = {
    "text": "0.9",
    "dict": {"reward": 0.9},
    "huge": 10**400,
    "nan": float("nan"),
    "infinite": float("inf"),
}


def schedule(study_seed: int, trials: int, every: int) -> dict[int, str]:
    """Return by seed how the trials of a study misbehave: one of so many does, kind after kind.

    Args:
        study_seed: Seed of the study.
        trials: Number of its search trials.
        every: One trial of so many misbehaves.
    """
    kinds = list(KINDS)
    numbers = range(every, trials + 1, every)
    return {trial_seed(study_seed, "search", n): kinds[i % len(kinds)] for i, n in enumerate(numbers)}


def worth(seed: int) -> float:
    """Return the reward of a trial that comes to its end."""
    return derived_seed("worth", seed) % 10_000 / 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """The evaluation: tells the witness that it begins, misbehaves if it is scheduled to, tells its end.

    Attributes:
        folder: Where the witness log lies, and marks of what has happened once. The search knows nothing
            of it.
        kinds: How trials misbehave, by seed.
        seconds: Length of a trial.
    """

    folder: Path
    kinds: Mapping[int, str]
    seconds: float

    def __call__(self, policy: Policy, seed: int) -> Any:
        """Train, as it were."""
        kind = self.kinds.get(seed, "fine")
        self._tell("start", seed, policy)
        time.sleep(self.seconds * (0.5 + derived_seed("length", seed) % 1000 / 1000))
        if self._misbehaves(kind, seed):
            self._misbehave(kind)
        self._tell("end", seed, policy)
        return _GARBAGE.get(kind, worth(seed))

    def _misbehaves(self, kind: str, seed: int) -> bool:
        if not kind.endswith(" once"):
            return seed not in mended(self.folder)
        try:
            os.close(os.open(once(self.folder, seed), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _misbehave(self, kind: str) -> None:
        match kind:
            case "raise":
                raise ValueError("a bug in the evaluation")
            case "exit":
                sys.exit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case "hang":
                time.sleep(3600)
            case "memory":
                exhaust_memory()
            case "oom":
                try:
                    exhaust_memory()
                except MemoryError:
                    os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory has no limit
            case "kill once":
                os.kill(os.getpid(), signal.SIGKILL)
            case "abort once":
                os.abort()
            case "segfault once":
                ctypes.string_at(0)
            case "quit once":
                os._exit(0)
            case "full disk once":
                raise OSError(errno.ENOSPC, "No space left on device", "weights.pt")
            case "flood":
                sys.stdout.write("x" * 80 * 5_000 + "\n")

    def _tell(self, what: str, seed: int, policy: Policy) -> None:
        line = {"what": what, "seed": seed, "policy": policy.key, "pid": os.getpid()}
        log = os.open(_witness(self.folder), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(log, f"{json.dumps(line)}\n".encode())
        finally:
            os.close(log)


def exhaust_memory() -> None:
    """Ask for more memory than this process may have; the machine's own is not touched.

    Raises:
        MemoryError: As it must.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="utf8").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM, before[1]))
    try:
        bytearray(4 * _ROOM)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def once(folder: Path, seed: int) -> Path:
    """Return the file that is there once a trial that misbehaves once has done so."""
    return folder / f"once-{seed}"


def mend(folder: Path) -> None:
    """Do what a user does after trials in a row have raised: those that have begun misbehave no more."""
    begun = sorted(mended(folder) | {line["seed"] for line in witnessed(folder)})
    draft = folder / "mended.new"
    draft.write_text(json.dumps(begun), encoding="utf8")
    os.replace(draft, folder / "mended")


def mended(folder: Path) -> set[int]:
    """Return the seeds of the trials that misbehave no more."""
    path = folder / "mended"
    return set(json.loads(path.read_text(encoding="utf8"))) if path.exists() else set()


def witnessed(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what the trials told, in order: ``what`` (start or end), ``seed``, ``policy``, ``pid``."""
    path = _witness(folder)
    if path.exists():
        for line in path.read_text(encoding="utf8").splitlines():
            yield json.loads(line)


def told(folder: Path) -> int:
    """Return how much the trials have told, in bytes."""
    path = _witness(folder)
    return path.stat().st_size if path.exists() else 0


def _witness(folder: Path) -> Path:
    return folder / "witness.jsonl"
