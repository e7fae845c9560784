"""The landscape of a task: policies set by hand, by chance, from the starting bias, and of searches.

    AUTODROPOUT_DATA=... python experiments/landscape.py --task ptb-small --workers 2

245 settings of single roles, the best of them on four more seeds; 240 policies from the starting bias;
three searches of 128 trials each by chance, by REINFORCE and by evolution, which end as a user's search ends;
then two more seeds for a tenth of all: about 2,200 trainings of six seconds of one core. It may be stopped
at any moment; the same command goes on, and --parts runs some parts only. Each part is a study of its own in
results/TASK/studies, so that autodropout report and export read it, too.

    AUTODROPOUT_DATA=... python experiments/landscape.py --task mnist-small --workers 2

likewise over feature maps: 193 settings of upright tiles at single sites and at all, three searches by chance
and one by REINFORCE: about 1,000 trainings of twelve seconds.

    AUTODROPOUT_DATA=... python experiments/landscape.py --remedies

instead runs REINFORCE's searches again over the standard space, which is narrower, and with one seed for all
trials of a search, in results/TASK/remedies: 480 trainings that are no part of the landscape.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from autodropout.cli.watching import Watch
from autodropout.engine.confirm import Confirmation
from autodropout.engine.events import Event, Notify, unheard
from autodropout.engine.options import ExecutorName
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import DataError, UsageError
from autodropout.result import Trial
from autodropout.tasks.base import Task
from autodropout.tasks.images.named import CIFAR10_SMALL, MNIST_SMALL
from autodropout.tasks.text.small import PtbSmall, PydocLm
from landscape_parts import (
    HAND,
    MAP_PARTS,
    STRONG,
    TOKEN_PARTS,
    Listed,
    Part,
    by_hand_of,
    remedies,
    searches_of,
    wide,
)

RESULTS = Path(__file__).parents[1] / "results"
TASKS: dict[str, Task] = {task.name: task for task in (PtbSmall(), PydocLm(), MNIST_SMALL, CIFAR10_SMALL)}

STUDIES, REPEATS = "studies", "repeats"
EVERY = 10
SEEDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to run the trials.

    Attributes:
        workers: Processes, one thread each.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """

    workers: int = 2
    executor: ExecutorName = "local"


def run(
    task: Task,
    out: Path,
    how: How,
    parts: Sequence[Part] | None = None,
    only: Sequence[str] | None = None,
) -> list[Study]:
    """Run what is left of all parts, then of the repeats; return the studies that were gone on with.

    Args:
        task: What is trained.
        out: Directory with one study per part.
        how: How to run the trials.
        parts: What is searched; None for the parts of the task's kind.
        only: Names of the parts to run; None for all. The repeats need all others.

    Raises:
        DataError: The task's data are missing.
        UsageError: The repeats come before the rest, or the task has no such part.
    """
    if missing := task.missing():
        raise DataError(missing)
    searched = searches_of(task) if parts is None else parts
    every = {part.name: part for part in (*by_hand_of(task), *searched)}
    if unknown := [name for name in only or () if name not in (*every, REPEATS)]:
        there = ", ".join((*every, REPEATS))
        raise UsageError(f"{task.name} has no part {unknown[0]}; choose from {there}")
    studies = []
    for name in every if only is None else [name for name in every if name in only]:
        studies.append(conducted(task, out, how, every[name]))
        if not studies[-1].finished:  # somebody asked it to stop
            return studies
    if only is not None and REPEATS not in only:
        return studies
    listed = Listed(name=REPEATS, listed=tuple(_tenth(out, list(every)) * SEEDS))
    part = Part(name=REPEATS, searcher=listed, trials=listed.batch, seed=4)
    return [*studies, conducted(task, out, how, part)]


def _tenth(out: Path, names: Sequence[str]) -> list[tuple[int, ...]]:
    """Return what every tenth trial of all parts tried but hand-strong, which is of another space."""
    ran = [Study(out / name) for name in names if (out / name).is_dir()]
    if left := [name for name in names if name not in {study.out.name for study in ran if study.finished}]:
        raise UsageError(f"the repeats are of all other parts; {', '.join(left)} must be finished first")
    ran = [study for study in ran if study.out.name != STRONG]
    tokens = [trial.tokens for study in ran for trial in _searched(study) if trial.result is not None]
    return tokens[::EVERY]


def _searched(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.kind == "search"]


def conducted(task: Task, parent: Path, how: How, part: Part, on_event: Notify = unheard) -> Study:
    """Run what is left of a part, and show how it goes.

    Args:
        task: What is trained.
        parent: Directory of the studies.
        how: How to run the trials.
        part: Which one.
        on_event: Told what happens, too.
    """
    out = parent / part.name

    def hear(event: Event) -> None:
        watch(event)
        on_event(event)

    with Watch(Console(highlight=False), f"{task.name}: {part.trials} trials in {out}") as watch:
        return search(
            task.evaluate,
            part.space or wide(task),
            trials=part.trials,
            searcher=part.searcher,
            workers=how.workers,
            executor=how.executor,
            out=out,
            seed=part.seed,
            floor=task.floor,
            confirm=part.confirm or Confirmation(top=0),
            common_seed=part.common_seed,
            halving=part.halving,
            warm_start=None if part.warm_start is None else parent / part.warm_start,
            task=task.key,
            on_event=hear,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="ptb-small", help="what is trained")
    parser.add_argument("--out", type=Path, help="directory of the studies")
    names = dict.fromkeys([HAND, STRONG, *(part.name for part in (*TOKEN_PARTS, *MAP_PARTS)), REPEATS])
    parser.add_argument("--parts", nargs="+", choices=names, help="run these only")
    parser.add_argument("--remedies", action="store_true", help="run the remedies, not the landscape")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    given = parser.parse_args()
    if given.remedies and given.parts:
        parser.error("--parts are of the landscape; leave them out with --remedies")
    task, how = TASKS[given.task], How(workers=given.workers)
    try:
        if given.remedies:
            out = given.out or RESULTS / given.task / "remedies"
            parts = remedies(task)
            studies = run(task, out, how, parts, [part.name for part in parts])
        else:
            studies = run(task, given.out or RESULTS / given.task / STUDIES, how, only=given.parts)
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    except (DataError, UsageError) as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if all(study.finished for study in studies) else 1)
