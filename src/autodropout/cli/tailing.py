"""``autodropout logs DIR TRIAL``."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from autodropout.cli.command import Command
from autodropout.cli.directory import check_study, is_running
from autodropout.cli.terminal import console
from autodropout.errors import UsageError

if TYPE_CHECKING:
    from autodropout.result import Trial

_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Logs(Command):
    """Print what a trial printed.

    For example:
      autodropout logs runs/digits 17
      autodropout logs runs/digits 17 --follow

    Attributes:
        out: Directory of the study.
        trial: Number of the trial.
        attempt: Which attempt.
        follow: Go on printing until the trial ends, or nothing runs any more; without --attempt, from one
            attempt to the next.
    """

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    trial: Annotated[tyro.conf.Positional[int], tyro.conf.arg(metavar="TRIAL")]
    attempt: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: the last one)")] = None
    follow: bool = False

    def run(self) -> None:
        """Print the log."""
        if self.attempt is not None and self.attempt < 1:
            raise UsageError(f"attempt is {self.attempt}; expected a whole number of at least 1")
        check_study(self.out)
        tail = _Tail(self.out, self.trial)
        while True:
            # Asked in this order, what is printed at the last turn is all there is.
            running, trial = is_running(self.out), _trial(self.out, self.trial)
            tail.print(trial.attempt if self.attempt is None else self.attempt)
            if not (self.follow and running and self._may_print(trial)):
                break
            time.sleep(_POLL_SECONDS)
        tail.conclude()

    def _may_print(self, trial: "Trial") -> bool:
        later = self.attempt is not None and trial.attempt > self.attempt
        return trial.state in ("queued", "running") and not later


class _Tail:
    """Prints the logs of a trial's attempts, each byte once."""

    def __init__(self, out: Path, trial: int) -> None:
        self._out, self._trial, self._attempt = out, trial, 0
        self._printed, self._silent = 0, True

    def print(self, attempt: int) -> None:
        """Print what is new in the log of this attempt, after the rest of the one before."""
        if attempt != self._attempt:
            self._more()
            self._attempt, self._printed = attempt, 0
        self._more()

    def conclude(self) -> None:
        """Say so if nothing was printed.

        Raises:
            UsageError: There is no log of the last attempt.
        """
        if self._attempt == 0:
            raise UsageError(f"trial {self._trial} has not started yet, so it has printed nothing")
        if not self._path.is_file():
            raise UsageError(
                f"no log of attempt {self._attempt} at trial {self._trial} was kept: there is no {self._path}"
            )
        if self._silent:
            console(stderr=True).print(f"trial {self._trial} has printed nothing")

    @property
    def _path(self) -> Path:
        from autodropout.report.record import log_file

        return log_file(self._out, self._trial, self._attempt)

    def _more(self) -> None:
        data = _read(self._path, self._printed)
        self._printed += len(data)
        self._silent = self._silent and not data
        console(soft_wrap=True).out(data.decode("utf8", errors="replace"), end="")


def _read(path: Path, start: int) -> bytes:
    """Return what a file holds from a position on; nothing if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _trial(out: Path, number: int) -> "Trial":
    """Return a trial of a search or a comparison, whatever its policy."""
    from autodropout.engine.ledger_reader import LedgerReader
    from autodropout.policy import Policy

    with LedgerReader.open(out) as reader:
        last = reader.next_id() - 1
        if not 1 <= number <= last:
            raise UsageError(f"there is no trial {number} in {out}; it holds trials 1 to {last}")
        return reader.trial(number, lambda _: Policy({}))
