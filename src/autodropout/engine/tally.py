"""What the events of a search add up to: how far it is, how well it goes, how long it will take."""

import time
from collections.abc import Callable, Mapping

from autodropout.durations import in_words
from autodropout.engine.events import (
    Event,
    Learned,
    Paused,
    PhaseBegan,
    PhaseName,
    TrialFailed,
    TrialFinished,
    TrialPromoted,
    TrialRetried,
    TrialStarted,
)

PHASES: Mapping[PhaseName, str] = {"search": "searching", "confirm": "confirming", "done": "done"}
"""What the phases of a search are called."""


class Tally:
    """Counts what the events tell; knows nothing of how it is shown.

    Args:
        clock: Seconds since whenever.
        names: What each phase is called.

    Attributes:
        phase: What is going on, in one word.
        total: Trials of the phase.
        done: How many of them have ended, failed ones included.
        failed: How many of those failed.
        running: How many run now.
        best: Best reward of a search trial; None before the first.
        paused: Whether the search was asked to pause.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, names: Mapping[PhaseName, str] = PHASES
    ) -> None:
        self._clock, self._names = clock, names
        self.phase, self.total, self.done, self.failed, self.running = "starting", 0, 0, 0, 0
        self.best: float | None = None
        self.paused = False
        self._before = 0
        self._began = self._last = clock()

    def take(self, event: Event) -> None:
        """Count an event."""
        match event:
            case PhaseBegan():
                self.phase, self.total, self.best = self._names[event.phase], event.total, event.best
                self.done = self._before = event.done
                self.failed, self.running = event.failed, 0
                self._began = self._last = self._clock()
            case TrialStarted():
                self.running += 1
            case TrialFinished():
                self._end(counts=True)
                whole = event.kind == "search" and event.budget == 1.0 and not event.floored
                if whole and event.reward is not None:
                    self.best = event.reward if self.best is None else max(self.best, event.reward)
            case TrialRetried() | TrialPromoted():
                self._end(counts=False)
            case TrialFailed():
                self._end(counts=not event.replaced)
                self.failed += not event.replaced
            case Paused():
                self.paused = event.paused
            case Learned():
                pass

    def seconds_left(self) -> float | None:
        """Estimate what remains of the phase from the pace so far; None before the first trial ended."""
        ended = self.done - self._before
        if ended == 0:
            return None
        per_trial = (self._last - self._began) / ended
        return max(0.0, per_trial * (self.total - self.done) - (self._clock() - self._last))

    def left(self) -> str:
        """Return the estimate in words, empty where there is none."""
        seconds = self.seconds_left()
        return "" if seconds is None or self.done >= self.total else f"{in_words(seconds)} left"

    def words(self) -> str:
        """Return running, failed and best in words."""
        searching = self.best is not None and self.phase == self._names["search"]
        best = f", best {self.best:.4f}" if searching else ""
        paused = ", paused" if self.paused else ""
        return f"{self.running} running, {self.failed} failed{best}{paused}"

    def _end(self, *, counts: bool) -> None:
        self.running -= 1
        self.done += counts
        self._last = self._clock()
