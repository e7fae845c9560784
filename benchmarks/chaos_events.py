"""What is thrown at a search: signals, full disks, missing rights, a second search."""

import ctypes
import json
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from chaos_driver import NO_LEDGER, NO_STUDY, STOPPED, Config, drive
from chaos_processes import children, is_alive, killed, running_trials, words_of
from chaos_trials import told

PATIENCE = 120.0
"""Seconds that whatever must happen may take: a bound for broken code on a busy machine."""

_CAPABILITIES, _CAP_DAC_OVERRIDE = 0x20080522, 1  # version of the system call; see capabilities(7)
_DISK_MEGABYTES = 64


class Cluster(Protocol):
    """A Ray cluster of several nodes on this machine."""

    def add_node(self, **settings: Any) -> Any:
        """Start a node."""
        ...

    def remove_node(self, node: Any, allow_graceful: bool) -> None:
        """Kill a node."""
        ...


Start = Callable[[Callable[..., None], Config], BaseProcess]
"""Starts a function in a process of its own."""


class Victim:
    """A driver that runs, and how to hurt it.

    Args:
        config: The search.
        start: Starts processes.
        rng: Whatever is left to chance.

    Attributes:
        exits: How often drivers ended, by how.
    """

    def __init__(self, config: Config, start: Start, rng: random.Random) -> None:
        self.config, self._start, self._rng = config, start, rng
        self.exits: dict[str, int] = {}
        self._process: BaseProcess | None = None
        self._code: int | None = None
        self._told, self._interrupted = 0, False

    @property
    def alive(self) -> bool:
        """Whether a driver runs."""
        return self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    def begin(self) -> None:
        """Start a driver on the ledger."""
        self._told, self._interrupted = told(self.config.folder), False
        self._process = self._start(drive, self.config)

    def await_progress(self) -> None:
        """Wait until a trial of this driver's has begun or ended, or the driver has ended itself.

        Raises:
            AssertionError: Nothing happens.
        """
        limit = time.monotonic() + PATIENCE
        while self.alive and told(self.config.folder) == self._told:
            assert time.monotonic() < limit, "the driver does nothing"
            time.sleep(0.02)

    def end(self) -> int | None:
        """Wait until the driver has ended and return its exit code; None if there has been none.

        Raises:
            AssertionError: It does not end, or in a way that nobody has foreseen.
        """
        if self._process is not None:
            self._process.join(PATIENCE)
            self._code = self._process.exitcode
            assert self._code is not None, f"the driver has not ended after {PATIENCE} s"
            name = _EXITS.get(self._code) or self._other_end()
            assert name is not None, f"the driver ended with {self._code}; {errors(self.config)[-1:]}"
            self.exits[name] = self.exits.get(name, 0) + 1
            self._process = None
        return self._code

    def _other_end(self) -> str | None:
        """Return what exit code 1 stands for; None for nothing that is foreseen.

        Ray's library ends the driver so when it cannot log, or meets a dead node; and Python does when it is
        interrupted before the driver has begun to listen.
        """
        if self._code != 1:
            return None
        if self.config.executor == "ray":
            return _RAY
        return (
            _EXITS[-signal.SIGTERM] if self._interrupted and told(self.config.folder) == self._told else None
        )

    def abandon(self) -> None:
        """Kill the driver, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def kill(self) -> bool:
        """Kill the driver as a machine that fails does."""
        return self._signal(signal.SIGKILL)

    def stop(self) -> bool:
        """Ask the driver to end, as a scheduler or a shell does."""
        return self._signal(self._rng.choice((signal.SIGTERM, signal.SIGINT)))

    def freeze(self) -> bool:
        """Stop the driver for a moment."""
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(self.pid, signal.SIGCONT)
        return True

    def kill_worker(self) -> bool:
        """Kill a worker in the middle of a trial; those that hang are left to their time limit."""
        hanging = {seed for seed, kind in self.config.kinds.items() if kind == "hang"}
        limit = time.monotonic() + PATIENCE
        while self.alive and time.monotonic() < limit:
            running = running_trials(self.config.folder).items()
            if ours := [pid for pid, seed in running if seed not in hanging and is_alive(pid)]:
                return killed(self._rng.choice(ours))
            time.sleep(0.01)
        return False

    def kill_server(self) -> bool:
        """Kill the process that starts the local workers."""
        server = [pid for pid in children(self.pid) if b"forkserver" in words_of(pid)]
        return bool(server) and killed(server[0])

    def no_more_bytes(self) -> bool:
        """Forbid the driver to make any file longer: what it writes fails from now on."""
        hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (0, hard))
        self.end()
        return True

    def fill_disk(self) -> bool:
        """Fill the small disk that the search's directory is on, until the driver has given up."""
        filler = self.config.out / "filler"
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        self.end()
        filler.unlink()
        return True

    def second_loop(self) -> bool:
        """Start another search on the same ledger; it must be refused."""
        before = len(errors(self.config))
        other = self._start(drive, self.config)
        other.join(PATIENCE)
        if not self.alive:  # ours had just ended, so the other was right to go on
            other.kill()
            other.join()
            return False
        assert other.exitcode == NO_LEDGER, f"a second search ended with exit code {other.exitcode}"
        assert any("another search is running" in error for error in errors(self.config)[before:])
        return True

    def read_only(self) -> bool:
        """Stop the driver and start one without the right to write; it must say so and change nothing."""
        self.stop()
        self.end()
        with _forbidden(self.config.out):
            before = _contents(self.config.out)
            process = self._start(_without_rights, self.config)
            process.join(PATIENCE)
            assert process.exitcode == NO_LEDGER, f"without rights it ended with {process.exitcode}"
            assert _contents(self.config.out) == before
        return True

    def _signal(self, number: signal.Signals) -> bool:
        self._interrupted = number == signal.SIGINT
        os.kill(self.pid, number)
        self.end()
        return True


class NodeKiller:
    """Kills nodes of a Ray cluster and starts others in their place.

    Args:
        cluster: The cluster; its head stays.
        settings: What a node is started with.
        nodes: Nodes that may be killed.
    """

    def __init__(self, cluster: Cluster, settings: Mapping[str, Any], nodes: list[Any]) -> None:
        self._cluster, self._settings, self._nodes = cluster, settings, nodes

    def __call__(self) -> bool:
        """Kill the oldest node with all that runs there, and start another."""
        self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)
        self._nodes.append(self._cluster.add_node(**self._settings))
        return True


@contextmanager
def small_disk(folder: Path, wanted: bool) -> Iterator[bool]:
    """Mount a small file system on a folder, if that is wanted and allowed here; say whether it was."""
    folder.mkdir(exist_ok=True)
    if not wanted:
        yield False
        return
    words = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MEGABYTES}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def errors(config: Config) -> list[str]:
    """Return the texts of the errors that drivers ended with, in order."""
    path = config.folder / "errors.jsonl"
    if not path.exists():
        return []
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf8").splitlines()]


_RAY = "ended by Ray's library"
_EXITS = {
    0: "came to its end",
    -signal.SIGKILL: "killed",
    -signal.SIGTERM: "stopped before it listened",
    STOPPED: "stopped cleanly",
    NO_LEDGER: "gave up: the disk or the ledger",
    NO_STUDY: "gave up: trials went wrong in a row",
}


def _without_rights(config: Config) -> None:
    """Search as somebody who has only the rights that the files' modes give, which root has not to heed."""
    libc = ctypes.CDLL(None)
    header, sets = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    for place in (0, 1):  # effective, permitted
        sets[place] &= ~(1 << _CAP_DAC_OVERRIDE)
    libc.capset(header, sets)
    drive(config)


@contextmanager
def _forbidden(out: Path) -> Iterator[None]:
    """Take away the right to write a ledger."""
    files = list(out.glob("study.*"))
    for path in files:
        path.chmod(0o444)
    out.chmod(0o555)
    try:
        yield
    finally:
        out.chmod(0o755)
        for path in files:
            path.chmod(0o644)


def _contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("study.db*")}
