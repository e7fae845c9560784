"""What a search would do and cost, before anything is started: ``autodropout search --dry-run``."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from autodropout.cli.checking import existing_parent
from autodropout.cli.machine import usable_cores
from autodropout.durations import in_words
from autodropout.engine.halving import Halving
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.study import Study
from autodropout.tasks.base import Task

if TYPE_CHECKING:
    from autodropout.cli.conducting import Conduct

_MIB, _GIB = 2**20, 2**30
_TRIAL_BYTES = 6 * 1024  # 1.5 KiB in the ledger of 40 decisions, and a log, which takes a block
_STATE_BYTES = 2 * _MIB  # states of the controller, of which few are kept


def plan(task: Task, how: "Conduct") -> list[tuple[str, str]]:
    """Return what a search would do, as pairs of a word and what it means here."""
    lines = [
        ("task", f"{task.name}: {task.summary}"),
        ("data", task.missing() or "ready"),
        ("searcher", _searcher(how)),
        ("trials", _trials(task, how)),
        ("runs on", _place(how)),
        *_costs(task, how),
        ("disk", _disk(how)),
    ]
    if (how.out / LEDGER_FILE).is_file():
        lines.append(("so far", _so_far(how.out)))
    return lines


def trainings(how: "Conduct") -> float:
    """Return how many full trainings a search and its confirmation ask for."""
    search = how.trials if how.halving is None else how.halving.trainings(how.trials)
    return search + how.confirm_top * how.confirm_seeds


def slots(how: "Conduct") -> int | None:
    """Return how many trials would run at a time; None if the cluster will say."""
    match how.executor:
        case "inline":
            return 1
        case "local":
            return how.workers
        case "ray":
            return how.cluster.slots


def _searcher(how: "Conduct") -> str:
    batch = "as many trials at a time as suit it" if how.batch is None else f"{how.batch} trials at a time"
    start = "" if how.warm_start is None else f", after those of {how.warm_start}"
    return f"{how.searcher}, which learns from {batch}{start}; seed {how.seed}"


def _trials(task: Task, how: "Conduct") -> str:
    search = f"{how.trials} policies out of {len(task.space())} decisions each"
    if how.common_seed:
        search += ", all with the same seed"
    if isinstance(how.halving, Halving):
        search += f", for about {how.halving.trainings(how.trials):.0f} full trainings"
    if not how.confirm_top:
        return f"{search}; no confirmation"
    return f"{search}; then the best {how.confirm_top} on {how.confirm_seeds} fresh seeds each"


def _place(how: "Conduct") -> str:
    match how.executor:
        case "inline":
            return "this process, one trial after the other"
        case "local":
            return f"{how.workers} worker processes; {usable_cores()} cores are here to use"
        case "ray":
            cluster = how.cluster
            where = f"at {cluster.address}" if cluster.address else "of RAY_ADDRESS, else one started here"
            room = "" if cluster.slots is None else f", {cluster.slots} at a time"
            return f"the Ray cluster {where}; a trial takes {cluster.demand()}{room}"


def _costs(task: Task, how: "Conduct") -> list[tuple[str, str]]:
    number = trainings(how)
    total = number * task.seconds
    gpus = how.cluster.gpus if how.executor == "ray" else 0
    unit, share = ("GPU", gpus) if gpus else ("core", how.cluster.cpus if how.executor == "ray" else 1)
    compute = f"{total * share / 3600:.2g} {unit} hours: {number:.0f} trainings of about {task.seconds:g} s"
    at_once = slots(how)
    if at_once is None:
        return [("compute", compute), ("time", f"{in_words(total)} divided by the trials at a time")]
    if how.executor == "local":
        at_once = min(at_once, usable_cores())  # more do not make it faster
    return [("compute", compute), ("time", f"about {in_words(total / at_once)}")]


def _disk(how: "Conduct") -> str:
    number = how.trials + how.confirm_top * how.confirm_seeds
    size = number * _TRIAL_BYTES + _STATE_BYTES
    free = shutil.disk_usage(existing_parent(how.out)).free
    text = f"about {size / _MIB:.0f} MiB in {how.out}, and what trials print"
    return f"{text}; {free / _GIB:.1f} GiB are free" + (", which is too little" if free < size else "")


def _so_far(out: Path) -> str:
    trials = Study.open(out).trials
    ended = sum(trial.state in ("done", "failed") for trial in trials)
    return f"{ended} trials have ended there, which the search would go on from"
