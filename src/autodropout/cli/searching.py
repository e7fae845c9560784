"""``autodropout search TASK``."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from autodropout.cli.command import Command

_T = TypeVar("_T")
_FOLDER = Path("runs")
_THE_TASKS = tyro.conf.arg(help_behavior_hint="(default: what the task asks for)")


@dataclass(frozen=True, kw_only=True)
class Search(Command):
    """Search the dropout policy for a task.

    Each trial trains the task's model once under a policy that the searcher proposes; the searcher learns
    from the validation reward. At the end the best policies are trained again on fresh seeds, and the one
    with the highest mean is saved as best.json and best.png. Ctrl-C stops cleanly at any moment;
    autodropout resume goes on.

    For example:
      autodropout search digits
      autodropout search digits --trials 96 --workers 4 --out runs/mine
      autodropout search digits --searcher random --seed 1

    Attributes:
        task: Name of the task; autodropout tasks lists them.
        trials: Policies to try.
        workers: Processes, each with one thread: as many as you have cores.
        executor: Where trials run: in worker processes, or one by one in this process, to debug.
        out: Directory of the study; one that holds this study already is gone on with.
        searcher: Who proposes: REINFORCE, REINFORCE as the paper has it, or chance.
        seed: Seed of the whole study.
        timeout: Seconds after which a trial is killed and has failed.
        batch: Finished trials per update of the searcher (M).
        capacity: Most trials queued or running at a time (C).
        confirm_top: Best policies to train again at the end; 0 for none.
        confirm_seeds: Fresh seeds for each of them.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    trials: Annotated[int | None, _THE_TASKS] = None
    workers: int = 2
    executor: Literal["local", "inline"] = "local"
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: a new runs/TASK)")
    ] = None
    searcher: Literal["reinforce", "reinforce-paper", "random"] = "reinforce"
    seed: int = 0
    timeout: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: never)")] = None
    batch: Annotated[int | None, _THE_TASKS] = None
    capacity: Annotated[
        int | None, tyro.conf.arg(help_behavior_hint="(default: a few more than workers)")
    ] = None
    confirm_top: Annotated[int | None, _THE_TASKS] = None
    confirm_seeds: Annotated[int | None, _THE_TASKS] = None

    def run(self) -> None:
        """Search, and say what was found."""
        from autodropout.cli.conducting import Conduct, conduct
        from autodropout.tasks.registry import task_named

        task = task_named(self.task)
        budget = task.budget
        # The paper's preset has an M of its own, and chance learns nothing.
        batch = budget.batch if self.searcher == "reinforce" else None
        conduct(
            task,
            Conduct(
                out=new_directory(task.name) if self.out is None else self.out,
                searcher=self.searcher,
                seed=self.seed,
                trials=_given(self.trials, budget.trials),
                workers=self.workers,
                executor=self.executor,
                timeout=self.timeout,
                batch=_given(self.batch, batch),
                capacity=self.capacity,
                confirm_top=_given(self.confirm_top, budget.confirm_top),
                confirm_seeds=_given(self.confirm_seeds, budget.confirm_seeds),
            ),
        )


def _given(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def new_directory(name: str) -> Path:
    """Return a directory under ``runs/`` that does not exist yet, named after what it will hold."""
    paths = (_FOLDER / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))
    return next(path for path in paths if not path.exists())
