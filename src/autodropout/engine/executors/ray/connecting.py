"""The connection to a cluster: one that runs already, or one started here."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import ray

from autodropout.engine.executors.cluster import Cluster
from autodropout.errors import UsageError

NAMESPACE = "autodropout"

_STORE_BYTES = 256 * 2**20  # of a cluster started here: evaluate goes through its store, and nothing large
_ANSWER_SECONDS = 10.0

Connection = Literal["started", "joined", "found"]
"""Of a process: it started a cluster, joined one that was running, or had joined one before."""


def connect(cluster: Cluster) -> Connection:
    """Connect this process to a cluster, and start one if none is named and none is connected.

    Raises:
        UsageError: There is no such cluster, or none can be started.
    """
    if ray.is_initialized():
        return "found"
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # whoever wants to send figures says so
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(address)
    own: dict[str, Any] = (
        {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if address == "local" else {}
    )
    with _own_signals():
        try:
            ray.init(
                address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(own if address == "local" else {}),
            )
        except Exception as error:  # ray raises whatever comes from below: ConnectionError, ValueError, ...
            raise _refusal(address, error) from error
    return "started" if address == "local" else "joined"


def nodes() -> Sequence[Mapping[str, Any]]:
    """Return what each node that lives has, such as ``{"CPU": 8.0, "GPU": 2.0}``."""
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in known if node["Alive"]]


def facts(address: str | None) -> dict[str, Any]:
    """Return Ray's version and what the cluster at an address has; None looks at no cluster.

    Raises:
        UsageError: There is none.
    """
    version = {"version": ray.__version__}
    if address is None:
        return version
    connection = connect(Cluster(address=address))
    try:
        there = nodes()
        cpus, gpus = (sum(node.get(what, 0.0) for node in there) for what in ("CPU", "GPU"))
        return version | {"nodes": len(there), "cpus": cpus, "gpus": gpus}
    finally:
        if connection != "found":
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse host and port where nobody listens: Ray itself goes on asking there for a long time."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        try:
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _refusal(address, error) from error


def _refusal(address: str, error: Exception) -> UsageError:
    text = " ".join(str(error).split()).partition(". ")[0]
    if address == "local":
        return UsageError(f"no Ray cluster can be started here ({text}); use local workers")
    return UsageError(
        f"there is no Ray cluster at {address!r} ({text}); start one with: ray start --head, "
        "or name no address to have one for this search"
    )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep Ray from taking SIGTERM, which is a clean stop here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
