"""What the tests of processes share."""

import os
import subprocess
import sys
import time
from pathlib import Path

from contracts.executor import PATIENCE

SCRIPT = """
import os, subprocess, sys, time
from pathlib import Path
from autodropout.engine.executors.base import Job
from autodropout.engine.executors.local import LocalExecutor
from autodropout.policy import Policy

def finish(executor, trial, seed=0):
    executor.submit(Job(trial=trial, attempt=1, policy=Policy({}), seed=seed))
    while not (ended := executor.poll(1.0)):
        pass
    return ended[0][1]
"""


def script(folder: Path, body: str, **options) -> subprocess.Popen:
    """Start a driver in a process of its own."""
    path = folder / "driver.py"
    path.write_text(SCRIPT + body)
    return subprocess.Popen([sys.executable, str(path)], cwd=folder, text=True, **options)


def numbers(path: Path, count: int) -> list[int]:
    """Wait until a file holds this many numbers."""
    limit = time.monotonic() + PATIENCE
    while True:
        found = path.read_text().split() if path.exists() else []
        if len(found) >= count and path.read_text().endswith("\n"):
            return [int(number) for number in found]
        assert time.monotonic() < limit, f"{path} holds only {found}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet buried does not."""
    try:
        os.kill(pid, 0)
        return subprocess.check_output(["ps", "-o", "stat=", "-p", str(pid)], text=True)[0] != "Z"
    except (ProcessLookupError, subprocess.CalledProcessError):
        return False


def assert_gone(pids: list[int]) -> float:
    """Wait until all these processes have ended; return how long that took."""
    began = time.monotonic()
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < began + PATIENCE / 2, f"{left} of {pids} still run"
        time.sleep(0.01)
    return time.monotonic() - began
