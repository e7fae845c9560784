"""Cores that this process may use, and how many of them fall to one trial."""

import os
from pathlib import Path

AT_A_TIME = "AUTODROPOUT_TRIALS_AT_A_TIME"
"""Environment variable that worker processes have: how many of them share the machine's cores."""

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the cores that this process may use: its affinity and its container's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text(encoding="utf8").split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def share_of_cores() -> int:
    """Return how many cores fall to one trial, at least 1: in a worker of several its part, else all."""
    workers = os.environ.get(AT_A_TIME, "")
    return max(1, usable_cores() // max(1, int(workers) if workers.isdecimal() else 1))
