"""``autodropout tasks``."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autodropout.cli.command import Command
from autodropout.cli.terminal import console
from autodropout.durations import in_words
from autodropout.errors import MissingError

if TYPE_CHECKING:
    from autodropout.space import Space
    from autodropout.tasks.base import Task

_A_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Tasks(Command):
    """What can be searched, how large it is, how long a training takes, and whether its data are there.

    For example:
      autodropout tasks
      autodropout tasks ptb-small
      autodropout tasks --json

    Attributes:
        name: Say all about this one; all of them have two lines each by default.
        data: Folder of data sets, for the tasks that read files.
        json: Print JSON for a machine.
    """

    name: Annotated[
        tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[TASK]", help_behavior_hint="")
    ] = None
    data: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: $AUTODROPOUT_DATA, or data)")
    ] = None
    json: bool = False

    def run(self) -> None:
        """Print the list or all about one task."""
        from autodropout.tasks.registry import TASKS, reads_files, task_named

        say = console(soft_wrap=self.json).print
        names = TASKS if self.name is None else (self.name,)
        tasks = [
            task_named(name, self.data if self.name or reads_files(TASKS[name]) else None) for name in names
        ]
        if self.json:
            facts = [_facts(task) for task in tasks]
            say(json.dumps(facts if self.name is None else facts[0], indent=2))
        elif self.name is None:
            for line in _list(tasks):
                say(line)
            say("\nautodropout tasks TASK says more of one, and where data come from that are not there.")
        else:
            say(_whole(_facts(tasks[0])))


def _facts(task: "Task") -> dict[str, object]:
    space, budget, missing = _space(task), task.budget, task.missing()
    return {
        "name": task.name,
        "summary": task.summary,
        "parameters": _num_parameters(task),
        "decisions": None if space is None else len(space),
        "policies_log10": None if space is None else round(math.log10(_num_policies(space)), 1),
        "seconds_per_trial": task.seconds,
        "default_trials": budget.trials,
        "default_confirmations": budget.confirm_top * budget.confirm_seeds,
        "data": task.needs,
        "ready": missing is None,
        "missing": missing,
    }


def _num_parameters(task: "Task") -> int | None:
    """Return the number of parameters of a task's network; None where its library is not installed."""
    import torch

    from autodropout.tasks.sizes import PARAMETERS

    if task.name in PARAMETERS:
        return PARAMETERS[task.name]
    try:
        with torch.device("meta"):  # no number is drawn
            return sum(parameter.numel() for parameter in task.model().parameters())
    except MissingError:
        return None


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


def _list(tasks: "Sequence[Task]") -> Iterator[RenderableType]:
    width = max(len(task.name) for task in tasks)
    for task in tasks:
        ready = "data ready" if task.missing() is None else "no data"
        size, time = _size(_num_parameters(task)), in_words(task.seconds)
        yield Text.assemble((f"{task.name:{width}}", "bold"), f"  {size:>13}  {time:>10} a training  {ready}")
        yield Padding(Text(task.summary), (0, 0, 0, 4))


def _size(num_parameters: int | None) -> str:
    """Say how large a network is in 13 characters, of hundreds of millions in 14."""
    match num_parameters:
        case None:
            return ""
        case int() if num_parameters >= 999_500:
            return f"{num_parameters / 1e6:.1f}M weights"
        case int() if num_parameters >= 1_000:
            return f"{num_parameters / 1e3:.0f}k weights"
    return f"{num_parameters} weights"


def _whole(fact: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for word, text in _rows(fact):
        # Paths and addresses are shown to their end.
        table.add_row(Text(word, style="bold"), Text(text, overflow="fold"))
    return table


def _rows(fact: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield fact["name"], fact["summary"]
    if fact["parameters"] is not None:
        yield "network", f"{fact['parameters']:,} parameters"
    if fact["decisions"] is not None:
        yield "size", f"{fact['decisions']} decisions, about 10^{fact['policies_log10']:.0f} policies"
    trials, confirmations = fact["default_trials"], fact["default_confirmations"]
    seconds = fact["seconds_per_trial"]
    one, whole = in_words(seconds), in_words(seconds * (trials + confirmations))
    search = f"a search is {trials:,} trials and {confirmations} to confirm the best"
    yield "cost", f"about {one} a training; {search}, {whole} of one worker"
    yield "data", f"{fact['data']}: {fact['missing'] or 'ready'}"
