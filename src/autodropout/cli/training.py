"""``autodropout train TASK --policy P``."""

import json
import logging
import math
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from autodropout.cli.command import Command, loaded_policy
from autodropout.cli.directory import check_place, claimed
from autodropout.cli.moving import FoundOn, moved
from autodropout.cli.terminal import NAME, command, console
from autodropout.errors import DataError
from autodropout.policy import Policy

if TYPE_CHECKING:
    from rich.console import Console

    from autodropout.result import Result
    from autodropout.tasks.base import Task

RESULT, POLICY, WEIGHTS = "result.json", "policy.json", "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a task's model once with a policy, and keep its weights.

    The policy may come from another task of the same family, named by --found-on: sizes and strides grow
    with the images, and where the networks differ in depth, blocks are matched stage by stage. A training
    that was stopped or killed goes on from its last checkpoint, by the same command with the same directory.

    For example:
      autodropout train digits --policy runs/digits/best.json
      autodropout train cifar10-wrn28-10 --policy best.json --found-on cifar10-wrn28-2 --out runs/final
      autodropout train mnist-small --seed 3

    Attributes:
        task: Name of the task; autodropout tasks lists them.
        policy: The policy's JSON file, or its name in the zoo; without one nothing is dropped.
        found_on: Task that the policy was found on, where it is another.
        data: Folder of data sets, for a task that reads files.
        out: Directory for weights, result and checkpoint.
        seed: Of everything random.
        budget: Fraction of the optimiser steps, for a try.
        every: Seconds between two checkpoints.
        json: Print the result as JSON.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    policy: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: no dropout)")
    ] = None
    found_on: FoundOn = None
    data: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: $AUTODROPOUT_DATA, or data)")
    ] = None
    out: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: a new runs/TASK-train)")
    ] = None
    seed: int = 0
    budget: float = 1.0
    every: float = 60.0
    json: bool = False

    def run(self) -> None:
        """Train, and say how well the model does."""
        policy = Policy({}) if self.policy is None else loaded_policy(self.policy)
        from autodropout.tasks.registry import task_named

        task = task_named(self.task, self.data)
        if missing := task.missing():
            raise DataError(missing)
        policy = moved(policy, self.found_on, task)
        with self._directory() as out:
            self._train(task, policy, out)

    def _directory(self) -> AbstractContextManager[Path]:
        if self.out is None:
            return claimed(f"{self.task}-train")
        check_place(self.out)
        return nullcontext(self.out)

    def _train(self, task: "Task", policy: Policy, out: Path) -> None:
        from autodropout.matching import match
        from autodropout.tasks.base import Resumable
        from autodropout.tasks.saving import Saving

        match(task.model(), policy)
        terminal = console(stderr=self.json, soft_wrap=True)
        identity = f"task {task.key}, policy {policy.key}, seed {self.seed}, budget {self.budget:g}"
        again = command("train", *self._words(out))
        terminal.print(f"{task.name}: {task.summary}")
        if isinstance(task, Resumable):
            saving = Saving(folder=out, identity=identity, every=self.every)
            terminal.print(f"Training in {out}; if it is stopped, go on with: {again}")
            task = task.keeping(saving)
        else:
            terminal.print(f"Training; the task {task.name} keeps no checkpoint and no weights")
        with _watched(terminal):
            result = task.evaluate(policy, self.seed, self.budget)
        self._keep(task, policy, result, out)
        _show(result, terminal)
        if not math.isfinite(result.reward):
            terminal.print("The training diverged: its loss is no longer finite, and these are no figures")
        if self.json:
            console(soft_wrap=True).print((out / RESULT).read_text(encoding="utf8"), end="")
        terminal.print(f"Saved: {', '.join(str(file) for file in sorted(out.iterdir()))}")

    def _keep(self, task: "Task", policy: Policy, result: "Result", out: Path) -> None:
        from safetensors.torch import save_file

        from autodropout.atomic import write_text
        from autodropout.engine.provenance import machine, versions
        from autodropout.tasks.saving import CHECKPOINT, saved_weights

        out.mkdir(parents=True, exist_ok=True)
        policy.save(out / POLICY)
        if (out / CHECKPOINT).exists():
            save_file(saved_weights(out), out / WEIGHTS)
        document = {
            "schema": 1,
            "command": shlex.join((NAME, "train", *self._words(out))),
            "task": self.task,
            "summary": task.summary,
            "policy": policy.key,
            "seed": self.seed,
            "budget": self.budget,
            "result": {name: _strict(value) for name, value in asdict(result).items()},
            "versions": versions(),
            "machine": machine(),
        }
        write_text(out / RESULT, json.dumps(document, indent=2) + "\n")

    def _words(self, out: Path) -> tuple[str, ...]:
        """Return the arguments that go on with this training."""
        told = replace(self, out=out)
        words = [told.task]
        for name in ("policy", "found_on", "data", "out", "seed", "budget", "every"):
            value = getattr(told, name)
            if value is not None and value != getattr(Train, name, None):
                words += [f"--{name.replace('_', '-')}", str(value)]
        return tuple(words)


@contextmanager
def _watched(terminal: "Console") -> Iterator[None]:
    """Print what the training logs of its course."""
    log = logging.getLogger("autodropout.tasks")
    handler, level = _Printer(terminal), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


class _Printer(logging.Handler):
    def __init__(self, terminal: "Console") -> None:
        super().__init__(logging.INFO)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        self._terminal.print(record.getMessage())


def _strict(value: object) -> object:
    """Return a value as strict JSON has it: without NaN and infinities."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: _strict(one) for name, one in value.items()}
        case list() | tuple():
            return [_strict(one) for one in value]
    return value


def _show(result: "Result", terminal: "Console") -> None:
    figures = {"reward": result.reward, **result.metrics, **{f"test {k}": v for k, v in result.test.items()}}
    for name, value in figures.items():
        terminal.print(f"{name:<16} {value:.6g}")
