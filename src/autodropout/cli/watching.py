"""What a running search looks like: a bar in a terminal, plain lines anywhere else."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from autodropout.engine.events import Event, Paused, PhaseBegan, TrialFailed, TrialFinished, TrialRetried
from autodropout.engine.tally import PHASES, Tally

_LINES = 20  # per phase, where there is no bar


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
        self._tally = Tally(names=PHASES if runs is None else {**PHASES, "confirm": runs})
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
            left = tally.left()
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
        return Text("" if task.finished else self._tally.left())
