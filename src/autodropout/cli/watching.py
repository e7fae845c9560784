"""What a running search looks like: a bar in a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

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

_LINES = 20  # per phase, where there is no bar
_NAMES: Mapping[PhaseName, str] = {"search": "searching", "confirm": "confirming", "done": "done"}


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
        self, clock: Callable[[], float] = time.monotonic, names: Mapping[PhaseName, str] = _NAMES
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


class Watch:
    """A context that shows the events it is called with.

    Args:
        console: Where; a bar if it is a terminal, lines otherwise.
        title: Said at the first event: by then the search has really begun.
        runs: What the trials of a comparison are called; None in a search.
    """

    def __init__(self, console: Console, title: str, runs: str | None = None) -> None:
        self._console = console
        self._title: str | None = title
        self._tally = Tally(names=_NAMES if runs is None else {**_NAMES, "confirm": runs})
        self._lines = -1
        self._progress = Progress(
            TextColumn("{task.description:10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}", markup=False, table_column=Column(no_wrap=True)),
            _Left(self._tally),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show what an event changes."""
        self._tally.take(event)
        if self._title is not None:
            self._say(self._title)
            self._title = None
        match event:
            case PhaseBegan(phase="done"):
                return
            case PhaseBegan():
                self._bar = self._progress.add_task(self._tally.phase, total=self._tally.total, words="")
                self._lines = -1
            case TrialRetried():
                self._say(f"trial {event.trial} goes wrong and will run again: {event.reason}")
            case TrialFailed():
                self._say(f"trial {event.trial} has failed: {event.error}")
            case Paused():
                self._say("paused" if event.paused else "going on")
        if self._console.is_terminal:
            self._update()
        elif isinstance(event, PhaseBegan | TrialFinished | TrialFailed):
            self._line()

    def _update(self) -> None:
        if self._bar is not None:
            self._progress.update(self._bar, completed=self._tally.done, words=self._tally.words())

    def _line(self) -> None:
        tally = self._tally
        line = tally.done * _LINES // max(1, tally.total)
        if line != self._lines:
            self._lines = line
            left = _left(tally)
            self._say(f"{tally.phase} {tally.done}/{tally.total}, {tally.words()}{left and ', ' + left}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class _Left(ProgressColumn):
    """Time that remains, on the bar of the phase that is going on."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(Column(no_wrap=True))
        self._tally = tally

    def render(self, task: Task) -> Text:
        """Return it, empty on a bar that is full."""
        return Text("" if task.finished else _left(self._tally))


def _left(tally: Tally) -> str:
    seconds = tally.seconds_left()
    return "" if seconds is None or tally.done >= tally.total else f"{in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> in_words(75), in_words(7_000)
        ('1 min 15 s', '1 h 56 min')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
