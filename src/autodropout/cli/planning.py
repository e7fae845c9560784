"""What a search would do and cost, before anything is started: ``autodropout search --dry-run``."""

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autodropout.cli.checking import existing_parent
from autodropout.cli.conducting import foreseen
from autodropout.cores import usable_cores
from autodropout.durations import in_words
from autodropout.engine.halving import Halving
from autodropout.engine.learning import spare
from autodropout.engine.ledger_records import StudyRecord, Tally
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.study import Study
from autodropout.tasks.base import Task

if TYPE_CHECKING:
    from autodropout.cli.conducting import Conduct

_MIB, _GIB = 2**20, 2**30
_TRIAL_BYTES = 6 * 1024  # 1.5 KiB in the ledger of 40 decisions, and a log, which takes a block
_STATE_BYTES = 2 * _MIB  # states of the controller, of which few are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a search still has to do.

    Attributes:
        search: Search trials.
        confirm: Confirmations.
        trainings: Both as full trainings, of which halving needs fewer.
    """

    search: int
    confirm: int
    trainings: float


def plan(task: Task, how: "Conduct") -> list[tuple[str, str]]:
    """Return what a search would do, as pairs of a word and what it means here.

    Raises:
        AutoDropoutError: The search would be refused.
    """
    study, rest = foreseen(task, how), left(how)
    lines = [
        ("task", f"{task.name}: {task.summary}"),
        ("data", task.missing() or "ready"),
        ("searcher", _searcher(how, study)),
        ("trials", _trials(task, how)),
        ("queue", _queue(how)),
        ("runs on", _place(how)),
        *_costs(task, how, rest.trainings),
        ("disk", _disk(how, rest)),
    ]
    if (how.out / LEDGER_FILE).is_file():
        lines.append(("so far", _so_far(how, rest)))
    elif not how.out.exists():
        lines.append(("directory", f"{how.out}, which would be made"))
    return lines


def left(how: "Conduct") -> Left:
    """Return what a search would have to do, trials that have ended in its directory left out."""
    search, confirm = how.trials, _confirmed(how) * how.confirm_seeds
    if (how.out / LEDGER_FILE).is_file():
        study = Study.open(how.out)
        search = max(0, search - _ended(study.tally("search")))
        # More trials may have other best ones.
        confirm = confirm if search else max(0, confirm - _ended(study.tally("confirm")))
    share = 1.0 if how.halving is None else how.halving.trainings(how.trials) / how.trials
    return Left(search=search, confirm=confirm, trainings=search * share + confirm)


def _ended(tally: Tally) -> int:
    return tally.done + tally.failed - tally.replaced


def slots(how: "Conduct") -> int | None:
    """Return how many trials would run at a time; None if the cluster will say."""
    match how.executor:
        case "inline":
            return 1
        case "local":
            return how.workers
        case "ray":
            return how.cluster.slots


def _searcher(how: "Conduct", study: StudyRecord) -> str:
    start = "" if study.warm is None else f", after those of {how.warm_start or study.warm['out']}"
    trials = "1 trial" if study.batch == 1 else f"{study.batch} trials"
    return f"{how.searcher}, which learns from {trials} at a time (M){start}; seed {how.seed}"


def _queue(how: "Conduct") -> str:
    at_once = slots(how)
    if how.capacity is None and at_once is None:
        return "as many trials queued or running (C) as the cluster has room for, and a few more"
    most = how.capacity or (at_once or 0) + spare(at_once or 0)
    return f"at most {most} trials queued or running (C)"


def _trials(task: Task, how: "Conduct") -> str:
    search = f"{how.trials} policies out of {len(task.space())} decisions each"
    if how.common_seed:
        search += ", all with the same seed"
    if isinstance(how.halving, Halving):
        search += f", for about {how.halving.trainings(how.trials):.0f} full trainings"
    if not how.confirm_top:
        return f"{search}; no confirmation"
    return f"{search}; then the best {_confirmed(how)} on {how.confirm_seeds} fresh seeds each"


def _confirmed(how: "Conduct") -> int:
    """Return how many policies are run again: no more than there are."""
    return min(how.confirm_top, how.trials)


def _place(how: "Conduct") -> str:
    match how.executor:
        case "inline":
            return "this process, one trial after the other"
        case "local":
            gpus = "" if how.devices is None else f" on the GPUs {', '.join(map(str, how.devices))} in turn"
            return f"{how.workers} worker processes{gpus}; {usable_cores()} cores are here to use"
        case "ray":
            cluster = how.cluster
            where = f"at {cluster.address}" if cluster.address else "of RAY_ADDRESS, else one started here"
            room = "" if cluster.slots is None else f", {cluster.slots} at a time"
            return f"the Ray cluster {where}; a trial takes {cluster.demand()}{room}"


def _costs(task: Task, how: "Conduct", number: float) -> list[tuple[str, str]]:
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


def _disk(how: "Conduct", rest: Left) -> str:
    size = (rest.search + rest.confirm) * _TRIAL_BYTES + _STATE_BYTES
    free = shutil.disk_usage(existing_parent(how.out)).free
    text = f"about {size / _MIB:.0f} MiB in {how.out}, and what trials print"
    return f"{text}; {free / _GIB:.1f} GiB are free" + (", which is too little" if free < size else "")


def _so_far(how: "Conduct", rest: Left) -> str:
    ended = max(0, how.trials - rest.search)
    return (
        f"{ended} of {how.trials} trials have ended in {how.out}; compute, time and disk are for what is "
        f"left: {rest.search} trials and {rest.confirm} confirmations"
    )
