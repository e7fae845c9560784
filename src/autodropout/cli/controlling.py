"""``autodropout status``, ``pause``, ``stop`` and ``logs``: a look at a search from another terminal."""

import json
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import tyro
from filelock import FileLock, Timeout
from rich.console import Console

from autodropout.cli.command import Command
from autodropout.errors import UsageError
from autodropout.result import TrialKind

if TYPE_CHECKING:
    from autodropout.engine.ledger_records import Tally
    from autodropout.engine.study import Study

_POLL_SECONDS = 0.5

Directory = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]


@dataclass(frozen=True, kw_only=True)
class Status(Command):
    """How far a search is: trials by state, best reward so far, time since the last trial.

    For example:
      autodropout status runs/digits
      autodropout status runs/digits --json

    Attributes:
        out: Directory of the study.
        json: Print JSON for a machine.
    """

    out: Directory
    json: bool = False

    def run(self) -> None:
        """Print it."""
        from autodropout.engine.study import Study

        facts = _facts(Study.open(self.out))
        console = Console(soft_wrap=True, highlight=False, markup=False)
        if self.json:
            console.print(json.dumps(facts, indent=2))
        else:
            console.print("\n".join(f"{name:<10} {text}" for name, text in _lines(facts)))


@dataclass(frozen=True, kw_only=True)
class Pause(Command):
    """Ask a running search to let its running trials end and to start no others.

    It holds its place and its memory. To free these as well, stop it and resume it later.

    For example:
      autodropout pause runs/digits
      autodropout pause runs/digits --go-on

    Attributes:
        out: Directory of the study.
        go_on: End the pause.
    """

    out: Directory
    go_on: bool = False

    def run(self) -> None:
        """Ask, and say how to go on."""
        from autodropout.engine.control import request

        _check_running(self.out)
        request(self.out, "go" if self.go_on else "pause")
        console = Console(highlight=False, markup=False)
        if self.go_on:
            console.print("Asked: the search goes on.")
        else:
            console.print(
                f"Asked: no trial starts any more. To go on:  {_command('pause', self.out, '--go-on')}",
                soft_wrap=True,
            )


@dataclass(frozen=True, kw_only=True)
class Stop(Command):
    """Ask a running search to stop; trials that are running are run again when it is resumed.

    For example:
      autodropout stop runs/digits

    Attributes:
        out: Directory of the study.
    """

    out: Directory

    def run(self) -> None:
        """Ask, and say how to go on."""
        from autodropout.engine.control import request

        _check_running(self.out)
        request(self.out, "stop")
        text = f"Asked: the search stops. To go on:  {_command('resume', self.out)}"
        Console(highlight=False, markup=False).print(text, soft_wrap=True)


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
        follow: Go on printing until the trial ends.
    """

    out: Directory
    trial: Annotated[tyro.conf.Positional[int], tyro.conf.arg(metavar="TRIAL")]
    attempt: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: the last one)")] = None
    follow: bool = False

    def run(self) -> None:
        """Print the log."""
        from autodropout.engine.study import Study
        from autodropout.report.record import log_file

        study = Study.open(self.out)
        attempt = self.attempt or study.trial(self.trial).attempt
        path = log_file(self.out, self.trial, attempt)
        console = Console(highlight=False, markup=False, soft_wrap=True)
        printed = _printed(console, path, 0) if path.is_file() else 0
        while self.follow and study.trial(self.trial).state in ("queued", "running"):
            time.sleep(_POLL_SECONDS)
            printed = _printed(console, path, printed) if path.is_file() else 0
        if not path.is_file():
            raise UsageError(_no_log(self.trial, attempt, path))
        if printed == 0:
            Console(highlight=False, stderr=True).print(f"trial {self.trial} has printed nothing")


def _printed(console: Console, path: Path, start: int) -> int:
    """Print a file from a position on; return where it ended."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    console.out(data.decode("utf8", errors="replace"), end="")
    return start + len(data)


def _no_log(trial: int, attempt: int, path: Path) -> str:
    if attempt == 0:
        return f"trial {trial} has not started yet, so it has printed nothing"
    return f"no log of attempt {attempt} at trial {trial} was kept: there is no {path}"


def _facts(study: "Study") -> dict[str, Any]:
    from autodropout.engine.control import requested
    from autodropout.report.record import COMPARISON

    record, timings = study.record, study.timings
    # The directory of a comparison has runs, too, but nothing to pick a best policy from.
    best = None if record.searcher == COMPARISON else study.best
    ended = [timing.ended for timing in timings if timing.ended is not None]
    return {
        "directory": str(study.out),
        "task": record.task,
        "searcher": record.searcher,
        "phase": record.phase,
        "running": _is_running(study.out),
        "asked": requested(study.out),
        "trials": record.trials,
        **{kind: _counts(study.tally(kind)) for kind in get_args(TrialKind)},
        "updates": len(study.updates),
        "best": None
        if best is None
        else {"reward": best.reward, "trial": best.trial, "confirmed": bool(best.rewards)},
        "seconds_since_last": time.time() - max(ended) if ended else None,
    }


def _counts(tally: "Tally") -> dict[str, int]:
    return {
        "done": tally.done,
        "running": tally.running,
        "queued": tally.queued,
        "failed": tally.failed,
    }


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("study", f"{facts['directory']} ({facts['task'] or 'no task'}, {facts['searcher']})")]
    lines.append(("state", _state(facts)))
    there = [kind for kind in get_args(TrialKind) if any(facts[kind].values())]
    lines += [(kind, _counted(facts[kind], running=facts["running"])) for kind in there]
    lines.append(("asked for", f"{facts['trials']} trials"))
    if (best := facts["best"]) is not None:
        word = "confirmed" if best["confirmed"] else "not confirmed"
        lines.append(("best", f"{best['reward']:.4f} (trial {best['trial']}, {word})"))
    if facts["seconds_since_last"] is not None and facts["running"]:
        lines.append(("last", f"a trial ended {facts['seconds_since_last']:.0f} s ago"))
    return lines


def _state(facts: dict[str, Any]) -> str:
    doing = "searching" if facts["phase"] == "search" else "confirming the best policies"
    if any(facts["compare"].values()):
        doing = "comparing"
    match facts:
        case {"phase": "done"}:
            return "finished"
        case {"running": False}:
            return f"not running; it was {doing}; go on with: {_command('resume', facts['directory'])}"
        case {"asked": "pause"}:
            return f"paused while {doing}"
        case {"asked": "stop"}:
            return "stopping"
    return f"{doing}, running now"


def _counted(counts: dict[str, int], *, running: bool) -> str:
    # Without a search nothing runs: what the ledger has as running was interrupted, and will be run again.
    words = {"running": "running" if running else "interrupted"}
    shown = ((words.get(state, state), number) for state, number in counts.items())
    return ", ".join(f"{number} {word}" for word, number in shown if number or word == "done")


def _check_running(out: Path) -> None:
    """Refuse to ask a search that does not run, for nobody would obey.

    Raises:
        LedgerError: There is no study.
        UsageError: No search runs there.
    """
    from autodropout.engine.study import Study

    if Study.open(out).finished:
        raise UsageError(f"the search in {out} is finished; there is nothing to pause or stop")
    if not _is_running(out):
        raise UsageError(f"no search is running in {out}; go on with: {_command('resume', out)}")


def _is_running(out: Path) -> bool:
    """Say whether a search holds the study's lock."""
    from autodropout.engine.ledger import LOCK_FILE

    if not (out / LOCK_FILE).exists():
        return False
    try:
        with FileLock(out / LOCK_FILE, timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        raise UsageError(f"{out} cannot be looked into ({error}); check its permissions") from error


def _command(*words: str | Path) -> str:
    return shlex.join(["autodropout", *map(str, words)])
