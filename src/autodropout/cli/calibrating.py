"""``autodropout calibrate TASK``."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from autodropout.cli.command import Command, devices_named, numbers
from autodropout.cli.terminal import command, console
from autodropout.cores import usable_cores
from autodropout.errors import DataError, StudyError, UsageError

if TYPE_CHECKING:
    from autodropout.cli.measuring import Rate

_PER_GPU = 8  # most slots tried on each


@dataclass(frozen=True, kw_only=True)
class Calibrate(Command):
    """Measure how many trials per hour this machine does with 1, 2, 4, ... at a time.

    Every number of slots trains the same policies, after one trial per slot that is not timed. The fewest
    slots that come within 5% of the best rate are proposed: memory and noise grow with each more.

    For example:
      autodropout calibrate digits
      autodropout calibrate digits --slots 1,2,3 --trials 4
      autodropout calibrate cifar10-wrn28-2 --devices 0 --slots 1,2,4,8 --budget 0.01

    Attributes:
        task: Name of the task; autodropout tasks lists them.
        slots: Numbers of slots to measure, with commas between them.
        trials: Timed trials per slot.
        budget: Fraction of a full training that each of them is. The rates are of such short ones, of which
            building, compiling and scoring take a larger share: they compare numbers of slots.
        devices: GPUs dealt out to the slots in turn, with commas between them.
        data: Folder of data sets, for a task that reads files; tasks says which.
        json: Print JSON for a machine instead of a table.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    slots: Annotated[
        str | None, tyro.conf.arg(help_behavior_hint="(default: 1, 2, 4, ... up to the cores, or 8 per GPU)")
    ] = None
    trials: int = 2
    budget: float = 1.0
    devices: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: all are visible)")] = None
    data: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: $AUTODROPOUT_DATA, or data)")
    ] = None
    json: bool = False

    def run(self) -> None:
        """Measure, and propose.

        Raises:
            DataError: The task's data are missing.
            StudyError: Not even one slot could be used, or a trial raised.
            UsageError: An option is wrong.
        """
        from autodropout.cli.measuring import Calibration, proposed, rates
        from autodropout.tasks.registry import task_named

        task = task_named(self.task, self.data)
        if missing := task.missing():
            raise DataError(missing)
        devices = devices_named(self.devices)
        slots = _doubling(_most(devices)) if self.slots is None else numbers("slots", self.slots, least=1)
        if self.trials < 1:
            raise UsageError(f"trials is {self.trials}; expected at least 1")
        if not 0.0 < self.budget <= 1.0:
            raise UsageError(f"budget is {self.budget:g}; expected a fraction above 0, at most 1")
        terminal = console(soft_wrap=True)
        found: list[Rate] = []
        how = Calibration(slots=slots, trials=self.trials, devices=devices)
        for rate in rates(partial(task.evaluate, budget=self.budget), task.space(), how):
            found.append(rate)
            if not self.json:
                terminal.print(_line(rate))
        if (best := proposed(found)) is None:
            raise StudyError(f"not even {slots[0]} at a time can be trained here: {found[0].problem}")
        facts = {
            "task": task.name,
            "budget": self.budget,
            "rates": [asdict(rate) for rate in found],
            "best": best.slots,
        }
        terminal.print(json.dumps(facts, indent=2) if self.json else self._proposal(best))

    def _proposal(self, best: "Rate") -> str:
        data = () if self.data is None else ("--data", self.data)
        devices = () if self.devices is None else ("--devices", self.devices)
        words = command("search", self.task, "--workers", str(best.slots), *devices, *data)
        return f"Best: {best.slots} at a time.  {words}"


def _most(devices: list[int] | None) -> int:
    import torch

    gpus = torch.cuda.device_count() if devices is None else len(devices)
    return gpus * _PER_GPU or usable_cores()


def _doubling(most: int) -> list[int]:
    """Return 1, 2, 4, ... and the largest number itself.

    Example:
        >>> _doubling(6)
        [1, 2, 4, 6]
    """
    return [*(2**power for power in range(most.bit_length()) if 2**power < most), most]


def _line(rate: "Rate") -> str:
    """Return a row for the terminal, printed as soon as it is measured."""
    if rate.problem:
        return f"{rate.slots:4} at a time: {rate.problem}"
    return f"{rate.slots:4} at a time: {rate.per_hour:8.0f} trials per hour, {rate.seconds:6.2f} s each"
