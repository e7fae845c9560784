"""Run a search in the terminal: watch it, stop it cleanly, say what was found."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from autodropout.cli.watching import Watch
from autodropout.conv_space import ConvSpace
from autodropout.engine.confirm import Confirmation
from autodropout.engine.ledger_records import StudyRecord
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import DataError, StudyError, UsageError
from autodropout.report.draw import save_png, terminal_picture
from autodropout.report.samples import SampleSettings, sample_policy
from autodropout.result import Confirmed
from autodropout.tasks.base import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How to run a search; the fields are those of the command ``search``, all of them decided."""

    out: Path
    searcher: str
    seed: int
    trials: int
    workers: int
    executor: Literal["local", "inline"]
    timeout: float | None
    batch: int | None
    capacity: int | None
    confirm_top: int
    confirm_seeds: int


def conduct(task: Task, how: Conduct) -> None:
    """Search, or go on with a search, showing its progress; then save and draw the best policy.

    Raises:
        DataError: The task's data are missing.
        KeyboardInterrupt: The user stopped it; how to go on has been said.
        StudyError: No trial returned a finite reward.
    """
    if missing := task.missing():
        raise DataError(missing)
    console = Console(highlight=False)
    confirm = Confirmation(top=how.confirm_top, seeds=how.confirm_seeds)
    try:
        with Watch(console, f"Searching {task.name} in {how.out}") as watch:
            study = search(
                task.evaluate,
                task.space(),
                trials=how.trials,
                searcher=how.searcher,
                workers=how.workers,
                out=how.out,
                seed=how.seed,
                executor=how.executor,
                timeout=how.timeout,
                batch=how.batch,
                capacity=how.capacity,
                floor=task.floor,
                confirm=confirm,
                task=task.name,
                on_event=watch,
            )
    except KeyboardInterrupt:
        console.print(f"Stopped; nothing is lost. Go on with: {_command('resume', how.out)}", soft_wrap=True)
        raise
    if not study.finished:
        console.print(f"Stopped on request. Go on with: {_command('resume', how.out)}", soft_wrap=True)
        return
    _conclude(console, task, study)


def _conclude(console: Console, task: Task, study: Study) -> None:
    best = study.best
    if best is None:
        raise StudyError(f"no trial returned a finite reward; see {study.out / 'logs'}")
    policy_file, picture_file = study.out / "best.json", study.out / "best.png"
    best.policy.save(policy_file)
    space = study.space
    sizes = space.sites if isinstance(space, ConvSpace) else None
    samples = sample_policy(best.policy, SampleSettings(sizes=sizes))
    console.print()
    console.print(_verdict(best))
    console.print()
    console.print(terminal_picture(samples))
    saved = [str(policy_file)]
    try:
        save_png(samples, picture_file, title=f"{task.name}. {_verdict(best)}")
        saved.append(str(picture_file))
    except UsageError as error:
        console.print(f"No picture was saved: {error}", soft_wrap=True)
    console.print(f"Saved: {' and '.join(saved)}", soft_wrap=True)
    compare = _command("compare", task.name, "--policy", policy_file)
    console.print(f"Next:  {compare}   or   {_command('report', study.out)}", soft_wrap=True)


def _verdict(best: Confirmed) -> str:
    if not best.rewards:
        return f"Best policy: reward {best.reward:.4f} in trial {best.trial}, not confirmed"
    spread = "" if best.spread is None else f" ± {best.spread:.4f}"
    seeds = f"{len(best.rewards)} fresh seed{'s' * (len(best.rewards) > 1)}"
    return f"Best policy: reward {best.reward:.4f}{spread} over {seeds} (trial {best.trial})"


def _command(*words: str | Path) -> str:
    return shlex.join(["autodropout", *map(str, words)])


def earlier(out: Path, record: StudyRecord, trials: int | None, workers: int | None) -> Conduct:
    """Return how a study was run, with other numbers of trials and workers where they are given.

    Raises:
        UsageError: It ran on an executor that only the script that began it knows.
    """
    options = record.options
    confirm: dict[str, int] = options["confirm"]
    executor = options["executor"]
    if executor not in ("local", "inline"):
        raise UsageError(
            f"{out} holds a search on the executor {executor}; run the script that began it again"
        )
    return Conduct(
        out=out,
        searcher=record.searcher,
        seed=record.seed,
        trials=record.trials if trials is None else trials,
        workers=options["workers"] if workers is None else workers,
        executor=executor,
        timeout=options["timeout"],
        batch=None,
        capacity=options["capacity"],
        confirm_top=confirm["top"],
        confirm_seeds=confirm["seeds"],
    )
