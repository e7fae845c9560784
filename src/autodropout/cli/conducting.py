"""Run a search in the terminal: watch it, stop it cleanly, say what was found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from autodropout.cli.terminal import command, console
from autodropout.cli.watching import Watch
from autodropout.comparison.kept import COMPARISON
from autodropout.conv_space import ConvSpace
from autodropout.engine.beginning import Asked, foresee
from autodropout.engine.confirm import Confirmation
from autodropout.engine.executors.cluster import Cluster
from autodropout.engine.halving import Halving
from autodropout.engine.ledger_records import StudyRecord
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.options import ExecutorName, Options
from autodropout.engine.run import check_runnable, search
from autodropout.engine.study import Study
from autodropout.errors import DataError, StudyError, UsageError
from autodropout.report.draw import save_png, terminal_picture
from autodropout.report.samples import SampleSettings, sample_policy
from autodropout.result import Confirmed
from autodropout.tasks.base import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How to run a search; the fields are those of the command ``search``, all of them decided.

    The task reads its files from ``data`` already; it is repeated in commands that the user may type.
    """

    out: Path
    searcher: str
    seed: int
    trials: int
    data: Path | None
    workers: int
    executor: ExecutorName
    devices: Sequence[int | str] | None
    cluster: Cluster
    timeout: float | None
    batch: int | None
    capacity: int | None
    confirm_top: int
    confirm_seeds: int
    halving: Halving | None
    warm_start: Path | None
    common_seed: bool


def conduct(task: Task, how: Conduct) -> None:
    """Search, or go on with a search, showing its progress; then save and draw the best policy.

    Raises:
        DataError: The task's data are missing.
        KeyboardInterrupt: The user stopped it; how to go on has been said.
        StudyError: No trial returned a finite reward.
        UsageError: The directory holds a comparison, or the best policy cannot be saved in it.
    """
    if missing := task.missing():
        raise DataError(missing)
    _check_no_comparison(how.out)
    terminal = console()
    try:
        with Watch(terminal, f"Searching {task.name} in {how.out}") as watch:
            study = search(
                task.evaluate,
                task.space(),
                out=how.out,
                on_event=watch,
                **_identity(task, how),
                **_manner(task, how),
            )
    except KeyboardInterrupt:
        terminal.print(
            f"Stopped; nothing is lost. Go on with: {command('resume', how.out, *_data(how))}", soft_wrap=True
        )
        raise
    if not study.finished:
        terminal.print(
            f"Stopped on request. Go on with: {command('resume', how.out, *_data(how))}", soft_wrap=True
        )
        return
    _conclude(terminal, task, study, _data(how))


def foreseen(task: Task, how: Conduct) -> StudyRecord:
    """Return the study that ``conduct`` would create or go on with; nothing is made.

    Raises:
        LedgerError: As ``conduct``.
        UsageError: As ``conduct``.
    """
    _check_no_comparison(how.out)
    check_runnable(how.executor, task.evaluate, how.halving)
    asked = Asked(space=task.space(), **_identity(task, how))
    return foresee(how.out, asked, Options(**_manner(task, how)))


def _check_no_comparison(out: Path) -> None:
    if (out / LEDGER_FILE).is_file() and Study.open(out).record.searcher == COMPARISON:
        raise UsageError(f"{out} holds a comparison; name another directory for the search")


def _identity(task: Task, how: Conduct) -> dict[str, Any]:
    """Return those arguments of ``search`` that make a study this study."""
    return {
        "searcher": how.searcher,
        "seed": how.seed,
        "task": task.key,
        "halving": how.halving,
        "warm_start": how.warm_start,
        "common_seed": how.common_seed,
    }


def _manner(task: Task, how: Conduct) -> dict[str, Any]:
    """Return those arguments of ``search`` that say how it is run."""
    return {
        "trials": how.trials,
        "workers": how.workers,
        "executor": how.executor,
        "devices": how.devices,
        "cluster": how.cluster,
        "timeout": how.timeout,
        "batch": how.batch,
        "capacity": how.capacity,
        "floor": task.floor,
        "confirm": Confirmation(top=how.confirm_top, seeds=how.confirm_seeds),
    }


def _data(how: Conduct) -> tuple[str | Path, ...]:
    return () if how.data is None else ("--data", how.data)


def _conclude(terminal: Console, task: Task, study: Study, data: tuple[str | Path, ...]) -> None:
    best = study.best
    if best is None:
        raise StudyError(f"no trial returned a finite reward; see {study.out / 'logs'}")
    space = study.space
    sizes = space.sites if isinstance(space, ConvSpace) else None
    samples = sample_policy(best.policy, SampleSettings(sizes=sizes))
    terminal.print()
    terminal.print(_verdict(best))
    terminal.print()
    terminal.print(terminal_picture(samples))
    policy_file, picture_file = study.out / "best.json", study.out / "best.png"
    best.policy.save(policy_file)
    saved = [str(policy_file)]
    try:
        save_png(samples, picture_file, title=f"{task.name}. {_verdict(best)}")
        saved.append(str(picture_file))
    except UsageError as error:
        terminal.print(f"No picture was saved: {error}", soft_wrap=True)
    terminal.print(f"Saved: {' and '.join(saved)}", soft_wrap=True)
    compare = command("compare", task.name, "--policy", policy_file, *data)
    terminal.print(f"Next:  {compare}   or   {command('report', study.out)}", soft_wrap=True)


def _verdict(best: Confirmed) -> str:
    if not best.rewards:
        return f"Best policy: reward {best.reward:.4f} in trial {best.trial}, not confirmed"
    spread = "" if best.spread is None else f", deviation {best.spread:.4f},"
    seeds = f"{len(best.rewards)} fresh seed{'s' * (len(best.rewards) > 1)}"
    return f"Best policy: reward {best.reward:.4f}{spread} over {seeds} (trial {best.trial})"


def earlier(out: Path, record: StudyRecord, data: Path | None) -> Conduct:
    """Return how a study was run.

    Raises:
        UsageError: It ran on an executor that only the script that began it knows.
    """
    options = record.options
    confirm: dict[str, int] = options["confirm"]
    executor = options["executor"]
    if executor not in get_args(ExecutorName):
        raise UsageError(
            f"{out} holds a search on the executor {executor}; run the script that began it again"
        )
    return Conduct(
        out=out,
        searcher=record.searcher,
        seed=record.seed,
        trials=record.trials,
        data=data,
        workers=options["workers"],
        executor=executor,
        devices=options.get("devices") if executor == "local" else None,  # older ledgers kept them anyway
        cluster=Cluster(**options.get("cluster", {})),  # ledgers from before Ray have none
        timeout=options["timeout"],
        batch=None,
        capacity=options["capacity"],
        confirm_top=confirm["top"],
        confirm_seeds=confirm["seeds"],
        halving=None if record.halving is None else Halving.from_plain(record.halving),
        warm_start=None,
        common_seed=record.common_seed,
    )
