"""Looking at processes, as the system tells of them."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from chaos_trials import witnessed


def left_over(folder: Path, patience: float) -> list[int]:
    """Return the workers that still live some time after their driver ended."""
    limit, pids = time.monotonic() + patience, {line["pid"] for line in witnessed(folder)}
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < limit:
        time.sleep(0.02)
    return left


def running_trials(folder: Path) -> dict[int, int]:
    """Return the processes whose last word to the witness was that a trial begins, and the trial's seed."""
    last = {line["pid"]: line for line in witnessed(folder)}
    return {pid: line["seed"] for pid, line in last.items() if line["what"] == "start"}


def killed(pid: int) -> bool:
    """Kill a process; return whether it was there."""
    with suppress(ProcessLookupError):  # it was quicker
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet buried does not."""
    state = "".join(_after_name(pid)[:1])
    return state not in ("", "Z", "X")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that are still there."""
    others = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [other for other in others if _after_name(other)[1:2] == [str(pid)]]


def _after_name(pid: int) -> list[str]:
    """Return what the system tells of a process after its name: state, parent, and so on."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf8").rpartition(")")[2].split()
    return []


def words_of(pid: int) -> bytes:
    """Return a process's command line."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
