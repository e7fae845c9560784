"""What ``autodropout doctor`` looks at in the machine: memory, cores, GPUs, workers, Ray."""

import os
import platform
import resource
import statistics
import time
from contextlib import closing
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autodropout.cli.checking import Check, Finding, State
from autodropout.cores import usable_cores
from autodropout.errors import UsageError

if TYPE_CHECKING:
    from autodropout.policy import Policy

_GIB = 2**30
_LITTLE_MEMORY = 0.75 * _GIB  # per core: a worker with torch loaded and a small network
_FEW_FILES = 1024
_SLOW_START = 15.0
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


def machine_checks(address: str | None) -> dict[str, Check]:
    """Return the checks of this machine, and of the Ray cluster at an address."""
    return {
        "software": _software,
        "cores": _cores,
        "memory": _memory,
        "open files": _files,
        "GPUs": _gpus,
        "workers": _workers,
        "Ray": lambda: _ray(address),
    }


def available_memory(cgroup: Path = _CGROUP, meminfo: Path = _MEMINFO) -> int | None:
    """Return the bytes that processes could still take here; None where the system does not tell."""
    try:
        lines = dict(line.split(":") for line in meminfo.read_text(encoding="utf8").splitlines())
        free = 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, ValueError, KeyError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="utf8"))
        used = int((cgroup / "memory.current").read_text(encoding="utf8"))
        return max(0, min(free, limit - used))
    except (OSError, ValueError):  # no limit, or "max"
        return free


def _software() -> Finding:
    import torch

    from autodropout import __version__

    facts = {"autodropout": __version__, "python": platform.python_version(), "torch": torch.__version__}
    text = ", ".join(f"{name} {number}" for name, number in facts.items())
    return Finding(name="software", state="ok", text=f"{text}, {platform.system()}", facts=facts)


def _cores() -> Finding:
    cores, load = usable_cores(), os.getloadavg()[0]
    busy = load > 0.5 * cores + 0.5
    threads = os.environ.get("OMP_NUM_THREADS")
    text = f"{cores} to use, load {load:.1f}; --workers {cores} gives each worker its own"
    return Finding(
        name="cores",
        state="warn" if busy else "ok",
        text=text + (f"; OMP_NUM_THREADS={threads} (workers have one thread each)" if threads else ""),
        remedy="others compute here, too: fewer workers are then as fast" if busy else "",
        facts={"usable": cores, "load": load, "OMP_NUM_THREADS": threads},
    )


def _memory() -> Finding:
    free, cores = available_memory(), usable_cores()
    if free is None:
        return Finding(name="memory", state="ok", text="this system does not tell")
    little = free < cores * _LITTLE_MEMORY
    return Finding(
        name="memory",
        state="warn" if little else "ok",
        text=f"{free / _GIB:.1f} GiB to use, {free / _GIB / cores:.1f} GiB per core",
        remedy=f"use at most --workers {max(1, int(free // _LITTLE_MEMORY))}" if little else "",
        facts={"bytes": free},
    )


def _files() -> Finding:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = limit != resource.RLIM_INFINITY and limit < _FEW_FILES
    return Finding(
        name="open files",
        state="warn" if few else "ok",
        text=f"{limit} at most" if limit != resource.RLIM_INFINITY else "no limit",
        remedy=f"ulimit -n {_FEW_FILES}: every worker takes several" if few else "",
        facts={"limit": limit},
    )


def _gpus() -> Finding:
    import torch

    if not torch.cuda.is_available():
        here = "Apple's, for tasks that ask for it" if torch.backends.mps.is_available() else "none"
        return Finding(name="GPUs", state="ok", text=f"{here}; trials run on cores", facts={"devices": []})
    devices = [_gpu(number) for number in range(torch.cuda.device_count())]
    busy = [device for device in devices if device["free"] < 0.5 * device["total"]]
    texts = [f"{d['name']} ({d['free'] / _GIB:.0f} of {d['total'] / _GIB:.0f} GiB free)" for d in devices]
    return Finding(
        name="GPUs",
        state="warn" if busy else "ok",
        text=", ".join(texts),
        remedy="others use them: nvidia-smi shows who" if busy else "",
        facts={"devices": devices},
    )


def _gpu(number: int) -> dict[str, Any]:
    import torch

    free, total = torch.cuda.mem_get_info(number)
    return {"name": torch.cuda.get_device_name(number), "free": free, "total": total}


def _workers() -> Finding:
    """Start a worker as a search does, and time what it costs a trial."""
    from autodropout.engine.executors.base import Done, Job
    from autodropout.engine.executors.local import LocalExecutor
    from autodropout.policy import Policy

    began = time.perf_counter()
    with closing(LocalExecutor(_nothing, workers=1)) as executor:
        ends = [began]
        for trial in range(1, 12):
            executor.submit(Job(trial=trial, attempt=1, policy=Policy({}), seed=trial))
            ended = executor.poll(60.0)
            if not ended or not isinstance(ended[0][1], Done):
                text = f"a worker did not answer: {ended[0][1] if ended else 'nothing in 60 s'}"
                return Finding(name="workers", state="fail", text=text, remedy="use --executor inline")
            ends.append(time.perf_counter())
    first, *others = (after - before for before, after in pairwise(ends))
    other = statistics.median(others)
    state: State = "warn" if first > _SLOW_START else "ok"
    return Finding(
        name="workers",
        state=state,
        text=f"the first starts in {first:.1f} s; a trial costs {1000 * other:.1f} ms beside its training",
        remedy="" if state == "ok" else "the machine is busy, or its disk slow",
        facts={"start_seconds": first, "trial_seconds": other},
    )


def _nothing(policy: "Policy", seed: int) -> float:
    del policy
    return float(seed)


def _ray(address: str | None) -> Finding:
    if find_spec("ray") is None:
        state: State = "fail" if address else "ok"
        text, remedy = "not installed; only --executor ray needs it", "pip install ray" if address else ""
        return Finding(name="Ray", state=state, text=text, remedy=remedy)
    from autodropout.engine.executors.ray.connecting import facts

    if not address:
        version = facts(None)["version"]
        return Finding(name="Ray", state="ok", text=f"{version}; no cluster was named", facts={})
    try:
        found = facts(address)
    except UsageError as error:
        return Finding(name="Ray", state="fail", text=str(error))
    size = f"{found['nodes']} nodes, {found['cpus']:g} CPUs, {found['gpus']:g} GPUs"
    return Finding(name="Ray", state="ok", text=f"{found['version']}, {address}: {size}", facts=found)
