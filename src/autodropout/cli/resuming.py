"""``autodropout resume DIR``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from autodropout.cli.command import Command, devices_named
from autodropout.cli.directory import check_study
from autodropout.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Resume(Command):
    """Go on with a search after any stop: Ctrl-C, a crash, a power cut.

    Trials that had finished are kept; interrupted ones run again. A search that is complete shows its
    result once more, or goes on with more --trials.

    For example:
      autodropout resume runs/digits
      autodropout resume runs/digits --trials 96 --workers 4

    Attributes:
        out: Directory of the study.
        trials: Policies to try, earlier ones included.
        workers: Processes.
        devices: GPUs dealt out to the workers in turn, with commas between them.
        data: Folder of data sets, for a task that reads files; tasks says which.
    """

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    trials: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: as before)")] = None
    workers: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: as before)")] = None
    devices: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: as before)")] = None
    data: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: $AUTODROPOUT_DATA, or data)")
    ] = None

    def run(self) -> None:
        """Go on, and say what was found."""
        check_study(self.out)
        from autodropout.cli.conducting import conduct, earlier
        from autodropout.comparison.kept import COMPARISON
        from autodropout.engine.study import Study
        from autodropout.tasks.registry import task_keyed

        record = Study.open(self.out).record
        if record.searcher == COMPARISON:
            raise UsageError(
                f"{self.out} holds a comparison; to go on, run its own command again: {record.command}"
            )
        task = task_keyed(record.task, self.data)
        if task is None:
            label = "without a task" if record.task is None else f"of {record.task!r}"
            raise UsageError(
                f"{self.out} holds a search {label}, which the command line does not know; "
                "to go on, run the script or notebook that began it again"
            )
        wished: dict[str, Any] = {
            "trials": self.trials,
            "workers": self.workers,
            "devices": devices_named(self.devices),
        }
        before = earlier(self.out, record, self.data)
        conduct(task, replace(before, **{name: wish for name, wish in wished.items() if wish is not None}))
