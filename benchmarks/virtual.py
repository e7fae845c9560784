"""A cluster on a virtual clock: an executor whose trials take their time without anybody waiting for it."""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autodropout.engine.executors.base import Done, Job, Lost, Outcome
from autodropout.engine.seeds import derived_seed
from autodropout.result import Result

MINUTE, HOUR = 60.0, 3600.0


class Clock:
    """Stands for ``time.time`` while a search is simulated; only the cluster moves it."""

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the virtual time in seconds since the epoch."""
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """Machines that come, go and are preempted, and how long a trial takes on them.

    Attributes:
        number: Machines that there may be, one trial at a time on each.
        minutes: Mean length of a trial, which is log-normal.
        spread: Standard deviation of its logarithm.
        stay: Mean hours until a machine is taken away, with the trial on it; None for never.
        away: Mean hours until it is back.
        arriving: Hours within which they come at first, one after the other.
    """

    number: int
    minutes: float = 40.0
    spread: float = 0.5
    stay: float | None = 12.0
    away: float = 1.0
    arriving: float = 0.5


@dataclass(slots=True, kw_only=True)
class Usage:
    """Seconds of machines, summed over them.

    Attributes:
        present: That they were there.
        trained: That they ran trials which came to their end.
        lost: That they ran trials which were taken away with them.
        preemptions: Trials that were.
    """

    present: float = 0.0
    trained: float = 0.0
    lost: float = 0.0
    preemptions: int = 0


class VirtualCluster:
    """Runs jobs on machines of a virtual cluster.

    ``poll`` moves the clock to the next moment at which the search has something to do: a trial has
    ended, or a machine has come that has nothing to run. Jobs without a machine wait for one, so there is
    always at least one slot. Everything follows from the seed, the trials' numbers and their attempts, so
    the same machines come and go, and the same trial takes as long, whoever searches.

    Args:
        evaluate: Reward of a job.
        machines: What the cluster consists of.
        clock: What shows the time.
        seed: What all randomness follows from.
    """

    def __init__(self, evaluate: Callable[[Job], float], machines: Machines, clock: Clock, seed: int) -> None:
        self._evaluate, self._machines, self._clock, self._seed = evaluate, machines, clock, seed
        self._fate = [random.Random(derived_seed(seed, "machine", n)) for n in range(machines.number)]
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], bool]]] = []
        self._since: dict[int, float] = {}  # machines that are there, and since when
        self._idle: dict[int, None] = {}  # those of them that have nothing to run, in order
        self._runs: dict[int, tuple[Job, float]] = {}  # what the others run, and since when
        self._waiting: deque[Job] = deque()
        self._ended: list[tuple[Job, Outcome]] = []
        self.usage = Usage()
        for number in range(machines.number):
            wait = machines.arriving * HOUR * number / machines.number
            self._later(wait, lambda number=number: self._come(number))
        self._run_events(clock.now)

    @property
    def capacity(self) -> int:
        """Machines that are there now, at least 1."""
        return max(1, len(self._since))

    def submit(self, job: Job) -> None:
        """Start a job on an idle machine; without one it waits."""
        self._waiting.append(job)
        self._occupy()

    def poll(self, timeout: float) -> Sequence[tuple[Job, Outcome]]:
        """Move the clock to the next moment that matters; return the jobs that ended then."""
        del timeout  # it is over in no time
        while not self._ended and self._events:
            if self._run_events(self._events[0][0]):
                break
        ended, self._ended = self._ended, []
        return ended

    def cancel(self, job: Job) -> None:
        """Forget a job."""
        self._waiting = deque(other for other in self._waiting if other != job)
        for number in [number for number, (other, _) in self._runs.items() if other == job]:
            del self._runs[number]
            self._idle[number] = None

    def close(self) -> None:
        """Forget everything."""
        self._events.clear()
        self._waiting.clear()
        self._runs.clear()

    def settle(self) -> Usage:
        """Return the usage up to now, machines that are still there included."""
        for number, since in self._since.items():
            self.usage.present += self._clock.now - since
            self._since[number] = self._clock.now
        return self.usage

    def _later(self, seconds: float, event: Callable[[], bool]) -> None:
        heapq.heappush(self._events, (self._clock.now + seconds, next(self._order), event))

    def _run_events(self, until: float) -> bool:
        """Let happen what is due; return whether there is an idle machine that was not there before."""
        idle = False
        while self._events and self._events[0][0] <= until:
            self._clock.now, _, event = heapq.heappop(self._events)
            idle |= event()
        return idle

    def _come(self, number: int) -> bool:
        self._since[number] = self._clock.now
        self._idle[number] = None
        if self._machines.stay is not None:
            stay = self._fate[number].expovariate(1 / (self._machines.stay * HOUR))
            self._later(stay, lambda: self._go(number))
        self._occupy()
        return number in self._idle

    def _go(self, number: int) -> bool:
        self.usage.present += self._clock.now - self._since.pop(number)
        self._idle.pop(number, None)
        if number in self._runs:
            job, began = self._runs.pop(number)
            self.usage.lost += self._clock.now - began
            self.usage.preemptions += 1
            self._ended.append((job, Lost(reason="the machine was preempted")))
        self._later(
            self._fate[number].expovariate(1 / (self._machines.away * HOUR)), lambda: self._come(number)
        )
        return False

    def _occupy(self) -> None:
        while self._waiting and self._idle:
            number, job = next(iter(self._idle)), self._waiting.popleft()
            del self._idle[number]
            self._runs[number] = job, self._clock.now
            self._later(self._length(job), lambda number=number, job=job: self._end(number, job))

    def _end(self, number: int, job: Job) -> bool:
        running, began = self._runs.get(number, (None, 0.0))
        if running != job:  # it was preempted or cancelled
            return False
        del self._runs[number]
        self._idle[number] = None
        seconds = self._clock.now - began
        self.usage.trained += seconds
        self._ended.append((job, Done(result=Result(reward=self._evaluate(job), seconds=seconds))))
        self._occupy()
        return False

    def _length(self, job: Job) -> float:
        rng = random.Random(derived_seed(self._seed, "length", job.trial, job.attempt))
        middle = math.log(self._machines.minutes * MINUTE) - self._machines.spread**2 / 2
        return rng.lognormvariate(middle, self._machines.spread)
