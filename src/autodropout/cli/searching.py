"""``autodropout search TASK``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from autodropout.cli.command import Command, devices_named
from autodropout.cli.directory import check_place, claimed
from autodropout.cli.terminal import console
from autodropout.errors import UsageError

if TYPE_CHECKING:
    from autodropout.cli.conducting import Conduct
    from autodropout.engine.executors.cluster import Cluster
    from autodropout.tasks.base import Task

_T = TypeVar("_T")
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
      autodropout search cifar10-wrn28-2 --workers 4 --devices 0,1
      autodropout search digits --executor ray --address auto --cpus-per-trial 2
      autodropout search digits --trials 2000 --dry-run

    Attributes:
        task: Name of the task; autodropout tasks lists them.
        trials: Policies to try.
        workers: Processes, each with one thread: as many as you have cores.
        executor: Where trials run: in worker processes, one by one in this process (to debug), or on a Ray
            cluster.
        devices: GPUs dealt out to the workers in turn, with commas between them, such as 0,1.
        address: Of the Ray cluster, such as auto or host:6379.
        cpus_per_trial: Cores that a trial takes on the Ray cluster; fractions share one.
        gpus_per_trial: GPUs that a trial takes there; fractions share one.
        slots: Trials at a time there; an autoscaler adds nodes for those that wait.
        out: Directory of the study; one that holds this study already is gone on with.
        searcher: Who proposes. reinforce learns (reinforce-paper: as the paper has it; categorical: without
            its network), evolution and tpe learn in other ways, random and random-biased are chance, knobs
            tries two simple knobs.
        data: Folder of data sets, for a task that reads files; tasks says which.
        seed: Seed of the whole study.
        timeout: Seconds after which a trial is killed; it is run once more, and then it has failed.
        batch: Finished trials per update of the searcher (M).
        capacity: Most trials queued or running at a time (C).
        confirm_top: Best policies to train again at the end; 0 for none.
        confirm_seeds: Fresh seeds for each of them.
        halving: Train every policy for a ninth of the steps first, and only the promising further: with
            hundreds of trials less than half the cost. Worth it only where short trainings foretell full
            ones: the report says how well they did.
        warm_start: Directory of an earlier search on the same space, to learn from before the first trial.
        common_seed: Train every trial with the same seed, so that what a seed does to all policies alike
            tells none from another; the best are confirmed on fresh ones all the same.
        dry_run: Print what would be done and what it would cost, and start nothing.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    trials: Annotated[int | None, _THE_TASKS] = None
    workers: int = 2
    executor: Literal["local", "inline", "ray"] = "local"
    devices: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: all are visible)")] = None
    address: Annotated[
        str | None, tyro.conf.arg(help_behavior_hint="(default: $RAY_ADDRESS, or a cluster started here)")
    ] = None
    cpus_per_trial: float = 1
    gpus_per_trial: float = 0
    slots: Annotated[
        int | None, tyro.conf.arg(help_behavior_hint="(default: as many as the cluster has room for)")
    ] = None
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: a new runs/TASK)")
    ] = None
    searcher: Literal[
        "reinforce",
        "reinforce-paper",
        "categorical",
        "random",
        "random-biased",
        "evolution",
        "tpe",
        "knobs",
    ] = "reinforce"
    data: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: $AUTODROPOUT_DATA, or data)")
    ] = None
    seed: int = 0
    timeout: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: never)")] = None
    batch: Annotated[
        int | None, tyro.conf.arg(help_behavior_hint="(default: what suits searcher and trials)")
    ] = None
    capacity: Annotated[
        int | None, tyro.conf.arg(help_behavior_hint="(default: a few more than workers)")
    ] = None
    confirm_top: Annotated[int | None, _THE_TASKS] = None
    confirm_seeds: Annotated[int | None, _THE_TASKS] = None
    halving: bool = False
    warm_start: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: from nothing)")
    ] = None
    common_seed: bool = False
    dry_run: bool = False

    def run(self) -> None:
        """Search, and say what was found."""
        from autodropout.cli.conducting import conduct
        from autodropout.engine.beginning import next_directory
        from autodropout.tasks.registry import task_named

        task = task_named(self.task, self.data)
        if self.dry_run:
            out = next_directory(task.name) if self.out is None else self.out
            check_place(out)
            _show_plan(task, self._how(task, out))
            return
        if self.out is not None:
            check_place(self.out)
            conduct(task, self._how(task, self.out))
            return
        with claimed(task.name) as out:
            conduct(task, self._how(task, out))

    def _how(self, task: "Task", out: Path) -> "Conduct":
        from autodropout.cli.conducting import Conduct
        from autodropout.engine.halving import Halving
        from autodropout.engine.ledger_schema import LEDGER_FILE

        budget = task.budget
        trials = _given(self.trials, budget.trials)
        # The task's batch suits its own number of trials. Every searcher has a rule for all others, and a
        # study that has begun keeps the one it began with.
        begun = (out / LEDGER_FILE).is_file()
        own = self.searcher == "reinforce" and trials == budget.trials and not begun
        return Conduct(
            out=out,
            searcher=self.searcher,
            seed=self.seed,
            trials=trials,
            data=self.data,
            workers=self.workers,
            executor=self.executor,
            devices=devices_named(self.devices),
            cluster=self._cluster(),
            timeout=self.timeout,
            batch=_given(self.batch, budget.batch if own else None),
            capacity=self.capacity,
            confirm_top=_given(self.confirm_top, budget.confirm_top),
            confirm_seeds=_given(self.confirm_seeds, budget.confirm_seeds),
            halving=Halving() if self.halving else None,
            warm_start=self.warm_start,
            common_seed=self.common_seed,
        )

    def _cluster(self) -> "Cluster":
        from autodropout.engine.executors.cluster import Cluster

        cluster = Cluster(
            address=self.address, cpus=self.cpus_per_trial, gpus=self.gpus_per_trial, slots=self.slots
        )
        if self.executor != "ray" and cluster != Cluster():
            raise UsageError("address, cpus-per-trial, gpus-per-trial and slots are for --executor ray")
        return cluster


def _show_plan(task: "Task", how: "Conduct") -> None:
    from autodropout.cli.planning import plan

    lines = (f"{word:<9} {text}" for word, text in plan(task, how))
    console(soft_wrap=True).print("\n".join([*lines, "Nothing was started."]))


def _given(value: _T | None, default: _T) -> _T:
    return default if value is None else value
