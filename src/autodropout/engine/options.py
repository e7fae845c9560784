"""How a search is run: everything that may differ after a resume, checked once."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.executors.devices import visible_devices
from autodropout.engine.executors.inline import check_unlimited
from autodropout.errors import UsageError

ExecutorName = Literal["local", "inline", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a search is run. See ``search`` for what each means.

    Attributes:
        trials: Search trials of the whole study.
        workers: Processes of the local executor.
        executor: Name of one of ours; None if the caller brings one.
        devices: Devices of the local executor.
        cluster: Cluster of the executor "ray".
        capacity: C, most trials queued or running.
        batch: M, finished trials per update.
        timeout: Seconds per trial.
        floor: Reward of failed and diverged trials.
        confirm: How the search ends.
        max_attempts: Attempts that may be lost with their worker.

    Raises:
        UsageError: A value is out of range.
    """

    trials: int
    workers: int
    executor: ExecutorName | None
    devices: Sequence[int | str] | None
    cluster: Cluster
    capacity: int | None
    batch: int | None
    timeout: float | None
    floor: float | None
    confirm: Confirmation
    max_attempts: int = 3

    def __post_init__(self) -> None:
        if self.executor not in (None, *get_args(ExecutorName)):
            *names, last = map(repr, get_args(ExecutorName))
            raise UsageError(
                f"executor is {self.executor!r}; expected {', '.join(names)} or {last}, "
                "or an executor of your own"
            )
        if not isinstance(self.cluster, Cluster):
            raise UsageError(f"cluster is {self.cluster!r}; expected a Cluster, such as Cluster(cpus=2)")
        for name in ("trials", "workers", "max_attempts"):
            _check_count(name, getattr(self, name))
        for name in ("capacity", "batch"):
            if getattr(self, name) is not None:
                _check_count(name, getattr(self, name))
        if self.timeout is not None and not (_is_number(self.timeout) and self.timeout > 0):
            raise UsageError(f"timeout is {self.timeout!r}; expected seconds above 0, or None for no limit")
        if self.executor == "inline":
            check_unlimited(self.timeout)
        check_devices(self.devices, self.executor)
        if self.floor is not None and not (_is_number(self.floor) and math.isfinite(self.floor)):
            raise UsageError(
                f"floor is {self.floor!r}; expected a finite reward, or None for the worst one so far"
            )
        if not isinstance(self.confirm, Confirmation):
            raise UsageError(f"confirm is {self.confirm!r}; expected a Confirmation, top=0 for none")

    def to_plain(self) -> dict[str, object]:
        """Return what the ledger keeps: plain JSON values."""
        devices = None if self.devices is None else list(self.devices)
        return asdict(self) | {"devices": devices}


def check_devices(devices: Sequence[int | str] | None, executor: str | None) -> None:
    """Refuse devices that are none, or that nobody would deal out.

    Raises:
        UsageError: They are such.
    """
    visible_devices(devices)
    if devices is not None and executor != "local":
        remedy = "leave devices out" + (", and say what a trial takes: gpus" if executor == "ray" else "")
        raise UsageError(f"devices is {devices!r}, but only the executor 'local' deals devices out; {remedy}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name} is {value!r}; expected a whole number of at least 1")
