"""``autodropout tasks``."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table
from rich.text import Text

from autodropout.cli.command import Command
from autodropout.cli.terminal import console
from autodropout.errors import MissingError

if TYPE_CHECKING:
    from autodropout.space import Space
    from autodropout.tasks.base import Task

_A_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Tasks(Command):
    """What can be searched: size, cost, data needed and whether they are there.

    For example:
      autodropout tasks
      autodropout tasks --json

    Attributes:
        data: Folder of data sets, for the tasks that read files.
        json: Print JSON for a machine instead of a table.
    """

    data: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: $AUTODROPOUT_DATA, or data)")
    ] = None
    json: bool = False

    def run(self) -> None:
        """Print all tasks."""
        from autodropout.tasks.registry import TASKS, reading, reads_files

        tasks = [
            reading(task, self.data) if self.data is not None and reads_files(task) else task
            for task in TASKS.values()
        ]
        facts = [_facts(task) for task in tasks]
        console(soft_wrap=self.json).print(json.dumps(facts, indent=2) if self.json else _table(facts))


def _facts(task: "Task") -> dict[str, object]:
    space, budget, missing = _space(task), task.budget, task.missing()
    return {
        "name": task.name,
        "summary": task.summary,
        "decisions": None if space is None else len(space),
        "policies_log10": None if space is None else round(math.log10(_num_policies(space)), 1),
        "seconds_per_trial": task.seconds,
        "default_trials": budget.trials,
        "default_confirmations": budget.confirm_top * budget.confirm_seeds,
        "data": task.needs,
        "ready": missing is None,
        "missing": missing,
    }


def _space(task: "Task") -> "Space | None":
    """Return a task's space; None where building it takes long, or its network's library is not installed."""
    if task.seconds >= _A_DAY:  # it is there to be trained with a policy that was found on its proxy
        return None
    try:
        return task.space()
    except MissingError:
        return None


def _num_policies(space: "Space") -> int:
    """Count the policies that differ: a site that is off counts once, whatever its other tokens."""
    total = len(space.choices[-1].values) if space.searches_schedule else 1
    for first, *others in space.site_choices.values():
        total *= 1 + (len(first.values) - 1) * math.prod(len(choice.values) for choice in others)
    return total


def _table(facts: list[dict[str, object]]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for fact in facts:
        table.add_row(Text(str(fact["name"]), style="bold"), "what", str(fact["summary"]))
        if fact["decisions"] is not None:
            size = f"{fact['decisions']} decisions, about 10^{fact['policies_log10']:.0f} policies"
            table.add_row("", "size", size)
        trials = f"{fact['default_trials']} trials and {fact['default_confirmations']} to confirm the best"
        table.add_row("", "cost", f"about {fact['seconds_per_trial']:g} s a trial; a search is {trials}")
        table.add_row("", "data", f"{fact['data']}: {fact['missing'] or 'ready'}")
    return table
