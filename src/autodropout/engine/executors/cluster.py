"""A cluster as a search sees it: what a trial takes of it, and how many it has room for."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autodropout.errors import UsageError

_UNITS = 10_000  # a scheduler's fractions have four decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Which Ray cluster runs the trials, and what each of them takes of it.

    Attributes:
        address: Of a cluster that is running: ``"auto"`` for the one on this machine, ``"host:port"``,
            or None for the one that the variable RAY_ADDRESS names and, without it, for one that is
            started here and ends with the search.
        cpus: Cores per trial; fractions share one. A trial may use as many threads.
        gpus: GPUs per trial; below 1 several trials share one, above 1 only whole numbers.
        slots: Trials at a time; None follows the cluster's size. A number makes trials wait inside the
            cluster where there is no room, which is what an autoscaler looks at.

    Raises:
        UsageError: A value is out of range.

    Example:
        >>> Cluster(cpus=0.5).room([{"CPU": 4.0}, {"CPU": 1.5}])
        11
    """

    address: str | None = None
    cpus: float = 1
    gpus: float = 0
    slots: int | None = None

    def __post_init__(self) -> None:
        if self.address is not None and (not isinstance(self.address, str) or not self.address.strip()):
            raise UsageError(f"address is {self.address!r}; expected 'auto', 'host:port', or None")
        for name in ("cpus", "gpus"):
            _check_share(name, getattr(self, name))
        if self.cpus == self.gpus == 0:
            raise UsageError("cpus and gpus are both 0; a trial has to take something, such as cpus=1")
        slots = self.slots
        if slots is not None and (not isinstance(slots, int) or isinstance(slots, bool) or slots < 1):
            raise UsageError(f"slots is {slots!r}; expected a whole number of at least 1, or None")

    def room(self, nodes: Iterable[Mapping[str, float]]) -> int:
        """Return how many trials fit on these nodes at a time; a trial does not span nodes.

        Args:
            nodes: For each node what it has, such as ``{"CPU": 8.0, "GPU": 2.0}``.
        """
        return sum(
            min(_fit(node.get("CPU", 0.0), self.cpus), _fit_gpus(node.get("GPU", 0.0), self.gpus))
            for node in nodes
        )

    def demand(self) -> str:
        """Return in words what a trial takes.

        Example:
            >>> Cluster(cpus=2, gpus=0.5).demand()
            '2 CPUs and 0.5 GPUs'
        """
        return " and ".join(f"{n:g} {what}s" for n, what in ((self.cpus, "CPU"), (self.gpus, "GPU")) if n)


def _check_share(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not isinstance(value, int | float) or value < 0:
        raise UsageError(f"{name} is {value!r}; expected a number of at least 0")
    if value > 1 and value != int(value):
        raise UsageError(f"{name} is {value!r}; above 1, only whole numbers can be given out")
    if 0 < value < 1 / _UNITS:
        raise UsageError(f"{name} is {value!r}; the smallest share is {1 / _UNITS}")


def _fit(there: float, share: float) -> int:
    return round(there * _UNITS) // round(share * _UNITS) if share else 2**31


def _fit_gpus(there: float, share: float) -> int:
    """As ``_fit``, but a share does not span GPUs: three of 0.4 do not fit on one of them and a bit."""
    return int(there) * _fit(1.0, share) if 0 < share < 1 else _fit(there, share)
