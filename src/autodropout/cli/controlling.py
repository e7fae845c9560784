"""``autodropout status``, ``pause`` and ``stop``: a hold on a search from another terminal."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import tyro

from autodropout.cli.command import Command
from autodropout.cli.directory import check_study, how_to_go_on, is_running
from autodropout.cli.terminal import command, console
from autodropout.errors import UsageError
from autodropout.result import TrialKind

if TYPE_CHECKING:
    from autodropout.engine.ledger_records import Tally
    from autodropout.engine.study import Study

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

        check_study(self.out)
        facts = _facts(Study.open(self.out))
        lines = (f"{name:<10} {text}" for name, text in _lines(facts))
        console(soft_wrap=True).print(json.dumps(facts, indent=2) if self.json else "\n".join(lines))


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
        text = f"Asked: no trial starts any more. To go on:  {command('pause', self.out, '--go-on')}"
        console(soft_wrap=True).print("Asked: the search goes on." if self.go_on else text)


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

        go_on = _check_running(self.out)
        request(self.out, "stop")
        console(soft_wrap=True).print(f"Asked: the search stops. To go on:  {go_on}")


def _facts(study: "Study") -> dict[str, Any]:
    from autodropout.comparison.kept import COMPARISON
    from autodropout.engine.control import requested

    record, timings = study.record, study.timings
    # The directory of a comparison has runs, too, but nothing to pick a best policy from.
    best = None if record.searcher == COMPARISON else study.best
    ended = [timing.ended for timing in timings if timing.ended is not None]
    return {
        "directory": str(study.out),
        "task": record.task,
        "searcher": record.searcher,
        "phase": record.phase,
        "running": is_running(study.out),
        "asked": requested(study.out),
        "go_on": how_to_go_on(study.out, record),
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
            return f"not running; it was {doing}; go on with: {facts['go_on']}"
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


def _check_running(out: Path) -> str:
    """Refuse to ask a search that does not run, for nobody would obey; return how to go on with it.

    Raises:
        UsageError: There is no study, or nothing runs there.
    """
    from autodropout.engine.study import Study

    check_study(out)
    record = Study.open(out).record
    go_on = how_to_go_on(out, record)
    if record.phase == "done":
        raise UsageError(f"the search in {out} is finished; there is nothing to pause or stop")
    if not is_running(out):
        raise UsageError(f"no search is running in {out}; go on with: {go_on}")
    return go_on
