"""The landscape of a task: policies set by hand, by chance, from the starting bias, and of searches.

    AUTODROPOUT_DATA=... python experiments/landscape.py --workers 2

245 settings of single roles, the best of them on four more seeds; 240 policies from the starting bias;
three searches of 128 trials each by chance, by REINFORCE and by evolution, which end as a user's search ends;
then two more seeds for a tenth of all: about 2,200 trainings of six seconds of one core. It may be stopped
at any moment; the same command goes on, and --parts runs some parts only. Each part is a study of its own in
results/TASK/studies, so that autodropout report and export read it, too.

    AUTODROPOUT_DATA=... python experiments/landscape.py --remedies

instead runs REINFORCE's searches again over the standard space, which is narrower, and with one seed for all
trials of a search, in results/TASK/remedies: 480 trainings that are no part of the landscape.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from autodropout.cli.watching import Watch
from autodropout.engine.base import Proposal, Scored
from autodropout.engine.bookkeeping import check_number, figures_of, read_state, write_state
from autodropout.engine.confirm import Confirmation
from autodropout.engine.events import Event, Notify, unheard
from autodropout.engine.halving import Halving
from autodropout.engine.options import ExecutorName
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import DataError, UsageError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.result import Trial
from autodropout.tasks.text.small import PtbSmall, PydocLm
from autodropout.token_space import TokenSpace

RESULTS = Path(__file__).parents[1] / "results"
TASKS = {task.name: task for task in (PtbSmall(), PydocLm())}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A searcher that proposes what it is given, one after the other, and learns nothing.

    Attributes:
        name: What the ledger calls it.
        listed: Tokens to propose.
    """

    name: str
    listed: tuple[tuple[int, ...], ...]

    @property
    def batch(self) -> int:
        """All at once."""
        return len(self.listed)

    @property
    def settings(self) -> Mapping[str, object]:
        """Which ones, so that another list is another study."""
        return {"listed": [list(tokens) for tokens in self.listed]}

    def propose(self, draw: int) -> tuple[Proposal, ...]:  # noqa: ARG002
        """Return all of them, whatever the draw."""
        return tuple(Proposal(tokens=tokens, log_prob=None) for tokens in self.listed)

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Return the mean reward."""
        check_number(trials, self.batch)
        return figures_of(trials, 1)

    def snapshot(self) -> bytes:
        """Return an empty state."""
        return write_state(self.name, {})

    def restore(self, snapshot: bytes) -> None:
        """Check that the state is of such a searcher."""
        read_state(snapshot, self.name, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One study of the landscape.

    Attributes:
        name: Of its directory.
        searcher: Word for who searches, or what is tried.
        trials: Search trials.
        seed: Of the study; parts of one seed train on the same seeds.
        confirm: How it ends; None does not confirm.
        space: What is searched; None for the wide space over the task's roles.
        common_seed: Whether all search trials have one seed.
        halving: How budgets grow; None for full trainings.
        warm_start: Name of an earlier part that it learns from first; None for none.
    """

    name: str
    searcher: str | Listed
    trials: int
    seed: int
    confirm: Confirmation | None = None
    space: TokenSpace | None = None
    common_seed: bool = False
    halving: Halving | None = None
    warm_start: str | None = None


def _searches(searcher: str) -> tuple[Part, ...]:
    return tuple(
        Part(name=f"{searcher}-{seed}", searcher=searcher, trials=128, seed=seed, confirm=Confirmation())
        for seed in (1, 2, 3)
    )


HAND, STRONG, REPEATS = "hand", "hand-strong", "repeats"
PARTS = (
    Part(name="random-biased", searcher="random-biased", trials=240, seed=0),
    *_searches("random"),
    *_searches("reinforce"),
    *_searches("evolution"),
)
"""What is searched, between what is set by hand and the repeats."""

REMEDIED = "reinforce-remedied"

STRONGER = TokenSpace.wide(("softmax", "value", "output"), rates=(0.6, 0.7, 0.8))
"""Roles that bear more than the standard space has: a single role is to be seen at its best."""

WAYS = ((1, False, False), (1, False, True), (4, True, False), (4, True, True), ("whole", True, False))
"""Size, share_t and share_c of what is swept by hand: units, words, blocks, spans, whole sequences."""

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
    task: PtbSmall | PydocLm,
    out: Path,
    how: How,
    parts: Sequence[Part] = PARTS,
    only: Sequence[str] | None = None,
) -> list[Study]:
    """Run what is left of all parts, then of the repeats; return the studies that were gone on with.

    Args:
        task: What is trained.
        out: Directory with one study per part.
        how: How to run the trials.
        parts: What is searched.
        only: Names of the parts to run; None for all. The repeats need all others.

    Raises:
        DataError: The task's data are missing.
        UsageError: The repeats come before the rest.
    """
    if missing := task.missing():
        raise DataError(missing)
    every = {part.name: part for part in (_by_hand(HAND, wide(task)), _by_hand(STRONG, STRONGER), *parts)}
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


def wide(task: PtbSmall | PydocLm) -> TokenSpace:
    """Return what the landscape is over: all kinds of values, so that narrower spaces can be judged by it."""
    return TokenSpace.wide(task.space().sites)


def remedies(task: PtbSmall | PydocLm) -> tuple[Part, ...]:
    """Return what may find better policies than REINFORCE did in the landscape."""
    return tuple(
        replace(part, name=f"{REMEDIED}-{part.seed}", space=task.space(), common_seed=True)
        for part in _searches("reinforce")
    )


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


def _by_hand(name: str, space: TokenSpace) -> Part:
    listed = by_hand(name, space)
    return Part(name=name, searcher=listed, trials=listed.batch, seed=0, confirm=Confirmation(), space=space)


def by_hand(name: str, space: TokenSpace) -> Listed:
    """Return no dropout at all, and single roles with every rate and five ways to share coins."""
    alone = [
        Policy({key: TokenPattern(size=size, share_t=share_t, share_c=share_c, rate=rate)})
        for key, choices in space.site_choices.items()
        for size, share_t, share_c in WAYS
        for rate in choices[-1].values
    ]
    return Listed(name=name, listed=tuple(space.encode(policy) for policy in (Policy({}), *alone)))


def conducted(
    task: PtbSmall | PydocLm, parent: Path, how: How, part: Part, on_event: Notify = unheard
) -> Study:
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
    names = [HAND, STRONG, *(part.name for part in PARTS), REPEATS]
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
            studies = run(task, given.out or RESULTS / given.task / "studies", how, only=given.parts)
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    except (DataError, UsageError) as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if all(study.finished for study in studies) else 1)
