"""The landscape of a task: policies by chance, from the starting bias, of searches, and set by hand.

    AUTODROPOUT_DATA=... python experiments/landscape.py --workers 2

1,536 trainings of ptb-small; 200 settings of single roles, the best eight of them on four more seeds; then
two more seeds for a tenth of all: about five hours of core time at eight seconds each. It may be stopped at
any moment; the same command goes on. Each part is a study of its own below the directory, so that
autodropout report and export read it, too.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from autodropout.cli.watching import Watch
from autodropout.engine.base import Proposal, Scored
from autodropout.engine.bookkeeping import check_number, figures_of, read_state, write_state
from autodropout.engine.confirm import Confirmation
from autodropout.engine.options import ExecutorName
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import DataError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.result import Trial
from autodropout.tasks.ptb_small import PtbSmall
from autodropout.tasks.pydoc_lm import PydocLm
from autodropout.token_space import TokenSpace

OUT = Path("runs/landscape")
TASKS = {task.name: task for task in (PtbSmall(), PydocLm())}
PARTS: Mapping[str, int] = {
    "random-biased": 400,
    "random": 400,
    "reinforce": 256,
    "evolution": 256,
    "tpe": 128,
    "categorical": 64,
    "knobs": 32,
}
"""Searcher and trials of each part."""

WAYS = ((1, False, False), (1, False, True), (4, True, False), (4, True, True), ("whole", True, False))
"""Size, share_t and share_c of what is swept by hand: units, words, blocks, spans, whole sequences."""

EVERY = 10
SEEDS = 2


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
class How:
    """How to run the trials.

    Attributes:
        workers: Processes, one thread each.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """

    workers: int = 2
    executor: ExecutorName = "local"


def run(task: PtbSmall | PydocLm, out: Path, how: How, parts: Mapping[str, int] = PARTS) -> list[Study]:
    """Run what is left of all parts, then of the repeats; return their studies.

    Args:
        task: What is trained.
        out: Directory with one study per part.
        how: How to run the trials.
        parts: Trials by searcher.

    Raises:
        DataError: The task's data are missing.
    """
    if missing := task.missing():
        raise DataError(missing)
    studies = []
    searchers: list[tuple[str | Listed, int]] = list(parts.items())
    hand = by_hand(task.space())
    for seed, (searcher, trials) in enumerate([*searchers, (hand, hand.batch)]):
        studies.append(_study(task, out, how, searcher, trials, seed))
        if not studies[-1].finished:  # somebody asked it to stop
            return studies
    tokens = [trial.tokens for study in studies for trial in _searched(study) if trial.result is not None]
    repeats = Listed(name="repeats", listed=tuple(tokens[::EVERY] * SEEDS))
    return [*studies, _study(task, out, how, repeats, repeats.batch, len(studies))]


def _searched(study: Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.kind == "search"]


def by_hand(space: TokenSpace) -> Listed:
    """Return no dropout at all, and single roles with every rate and five ways to share coins."""
    alone = [
        Policy({key: TokenPattern(size=size, share_t=share_t, share_c=share_c, rate=rate)})
        for key, choices in space.site_choices.items()
        for size, share_t, share_c in WAYS
        for rate in choices[-1].values
    ]
    return Listed(name="hand", listed=tuple(space.encode(policy) for policy in (Policy({}), *alone)))


def _study(
    task: PtbSmall | PydocLm, parent: Path, how: How, searcher: str | Listed, trials: int, seed: int
) -> Study:
    name = searcher if isinstance(searcher, str) else searcher.name
    out, confirm = parent / name, Confirmation() if name == "hand" else Confirmation(top=0)
    with Watch(Console(highlight=False), f"{task.name}: {trials} trials in {out}") as watch:
        return search(
            task.evaluate,
            task.space(),
            trials=trials,
            searcher=searcher,
            workers=how.workers,
            executor=how.executor,
            out=out,
            seed=seed,
            floor=task.floor,
            confirm=confirm,
            task=task.key,
            on_event=watch,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="ptb-small", help="what is trained")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the studies")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    given = parser.parse_args()
    try:
        studies = run(TASKS[given.task], given.out, How(workers=given.workers))
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    except DataError as error:
        sys.exit(f"error: {error}")
    sys.exit(0 if all(study.finished for study in studies) else 1)
