"""A process of our own that starts the workers, buries them, and never outlives the driver.

The standard library's fork server is not used: it runs the driver's main module again in every worker,
a program has one only (whoever starts it first decides what it has loaded, and its environment), and it
leaves workers alive when the driver is killed.
"""

import gc
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn

from autodropout.cores import AT_A_TIME
from autodropout.engine.executors import worker
from autodropout.errors import UsageError

_ORDER = struct.Struct("<cq")  # what to do, number of the worker
_START, _KILL, _QUIT = b"s", b"k", b"q"
_EXIT = struct.Struct("<qq")  # number of the worker, exit code (-n: killed by signal n)

_PATIENCE = 2.0  # seconds that the server gets to end
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

_SERVER = """
import json, sys
sys.path[:], settings = json.load(sys.stdin)
from autodropout.engine.executors.forkserver import serve
serve(**settings)
"""
_WORKER = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from autodropout.engine.executors.worker import main
main(int(sys.argv[2]), int(sys.argv[3]))
"""


class ForkServer:
    """The driver's handle on its fork server.

    Workers are known by numbers that the driver chooses. Orders to a server that is gone are ignored:
    ``next_exit`` tells.

    Args:
        workers: How many there will be at a time, for what divides cores among them.
        preload: Modules to import before the first worker is forked.
        spawn: Whether workers are fresh interpreters instead, which share nothing and start slowly.
        log: File for what workers print between trials; None leaves it where the driver's output goes.
    """

    def __init__(self, *, workers: int, preload: Sequence[str], spawn: bool, log: Path | None) -> None:
        self._socket, theirs = socket.socketpair()
        settings = {"control_fd": theirs.fileno(), "driver": os.getpid(), "spawn": spawn, "preload": preload}
        with theirs, open(log or os.devnull, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVER],
                stdin=subprocess.PIPE,
                stdout=output if log else None,
                stderr=output if log else None,
                pass_fds=[theirs.fileno()],
                env=os.environ | _ONE_THREAD | {AT_A_TIME: str(workers)},
                start_new_session=True,  # Ctrl-C in the driver's terminal is for the driver
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(json.dumps([_import_path(), settings]).encode())

    @property
    def exits(self) -> socket.socket:
        """What to wait on before ``next_exit``."""
        return self._socket

    def start(self, number: int, connection: "Connection[Any, Any]") -> None:
        """Start a worker that talks over its own copy of ``connection``."""
        with suppress(OSError):
            socket.send_fds(self._socket, [_ORDER.pack(_START, number)], [connection.fileno()])

    def kill(self, number: int) -> None:
        """Kill a worker and all processes of its group."""
        with suppress(OSError):
            self._socket.sendall(_ORDER.pack(_KILL, number))

    def next_exit(self) -> tuple[int, int]:
        """Wait for the next worker to end; return its number and exit code, -n if signal n killed it.

        Raises:
            EOFError: The server is gone, and its workers with it.
        """
        with suppress(ConnectionError):
            if data := self._socket.recv(_EXIT.size, socket.MSG_WAITALL):
                number, code = _EXIT.unpack(data)
                return number, code
        raise EOFError

    def close(self) -> int:
        """Kill all workers, end the server, and return its exit code."""
        with suppress(OSError):
            self._socket.sendall(_ORDER.pack(_QUIT, 0))
        self._socket.close()
        try:
            return self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the workers see that and kill themselves
            return self._process.wait()


def checked_preload(preload: Sequence[str]) -> tuple[str, ...]:
    """Refuse modules that cannot be found.

    Raises:
        UsageError: One of them does not exist.
    """
    for name in preload:
        with suppress(ImportError, ValueError):  # a parent is missing; a name that is no module's
            if find_spec(name) is not None:
                continue
        raise UsageError(f"preload names {name!r}, which cannot be imported; leave it out")
    return tuple(preload)


def ending(code: int) -> str:
    """Return in words how a process with this exit code ended."""
    if code >= 0:
        return f"ended itself with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = " (by hand, or because memory ran out)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"


def serve(control_fd: int, driver: int, spawn: bool, preload: Sequence[str]) -> None:
    """Be the server, in a process of its own, until the driver says so or is gone."""
    for name in preload:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a worker would otherwise copy the pages that all of them share
    with socket.socket(fileno=control_fd) as control:
        _Server(control, driver, spawn).run()
    os._exit(0)  # tearing torch down takes long, and there is nothing to save


class _Server:
    """The loop of the server process. It has one thread, and runs nobody's code but ours."""

    def __init__(self, control: socket.socket, driver: int, spawn: bool) -> None:
        self._control, self._driver, self._spawn = control, driver, spawn
        self._workers: dict[int, int] = {}  # process to number
        self._life = os.pipe()  # held open by us alone, watched by every worker
        self._bell, ring = socket.socketpair()  # rung by the death of a worker
        ring.setblocking(False)
        self._ring = ring
        signal.set_wakeup_fd(ring.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._own_fds = [control.fileno(), self._life[1], self._bell.fileno(), ring.fileno()]
        self._pidfd = _pidfd(driver)

    def run(self) -> None:
        try:
            while os.getppid() == self._driver:
                ready = wait([self._control, self._bell, *self._pidfd])
                if any(fd in ready for fd in self._pidfd):
                    return
                if self._bell in ready:
                    self._bell.recv(4096)
                    self._bury()
                if self._control in ready and not self._obey():
                    return
        except ConnectionError:
            return  # the driver went away while we reported to it
        finally:
            self._end()

    def _obey(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, _ORDER.size, 1)
        if not data:
            return False
        order, number = _ORDER.unpack(data)
        if order == _START:
            self._start(number, fds[0])
        elif order == _KILL:
            for pid in [pid for pid, known in self._workers.items() if known == number]:
                _kill_group(pid)
        return bool(order != _QUIT)

    def _start(self, number: int, connection_fd: int) -> None:
        try:
            pid = os.fork()
        except OSError:
            traceback.print_exc()
            os.close(connection_fd)
            self._report(number, os.EX_OSERR)
            return
        if pid == 0:
            self._become_worker(connection_fd)
        os.close(connection_fd)
        _lead_group(pid)
        self._workers[pid] = number

    def _become_worker(self, connection_fd: int) -> NoReturn:
        code = 1
        try:
            _lead_group(os.getpid())
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in [*self._own_fds, *self._pidfd]:
                os.close(fd)
            if self._spawn:
                _execute_worker(connection_fd, self._life[0])
            worker.main(connection_fd, self._life[0])
            code = 0
        except BaseException:  # nothing may climb back into the loop of the server
            traceback.print_exc()
        finally:
            os._exit(code)

    def _bury(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self._workers:  # a preloaded module may have started processes, too
                _kill_group(pid)  # what the worker started goes with it
                self._report(self._workers.pop(pid), os.waitstatus_to_exitcode(status))

    def _report(self, number: int, code: int) -> None:
        self._control.sendall(_EXIT.pack(number, code))

    def _end(self) -> None:
        for pid in self._workers:
            _kill_group(pid)
        for pid in self._workers:
            os.waitpid(pid, 0)


def _pidfd(pid: int) -> list[int]:
    """Return what tells of a process's end even if others have inherited its end of our socket."""
    if sys.platform == "linux":
        with suppress(OSError):  # some sandboxes forbid it, and the closed socket must do
            return [os.pidfd_open(pid)]
    return []


def _lead_group(pid: int) -> None:
    """Make a worker the leader of a group; worker and server both do it, so that neither has to wait."""
    with suppress(OSError):  # the other was quicker, or it has died
        os.setpgid(pid, pid)


def _kill_group(pid: int) -> None:
    with suppress(OSError):  # nobody is left; macOS has two errors for that
        os.killpg(pid, signal.SIGKILL)


def _execute_worker(connection_fd: int, server_fd: int) -> NoReturn:
    for fd in (connection_fd, server_fd):
        os.set_inheritable(fd, True)
    where = [json.dumps(sys.path), str(connection_fd), str(server_fd)]
    os.execv(sys.executable, [sys.executable, "-P", "-c", _WORKER, *where])


def _import_path() -> list[str]:
    """Return sys.path as another process can use it: an interactive session has '' for where it is."""
    return [path or os.getcwd() for path in sys.path if isinstance(path, str)]
