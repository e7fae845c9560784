"""``autodropout show P``."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from autodropout.cli.command import Command, loaded_policy
from autodropout.cli.terminal import console
from autodropout.errors import UsageError
from autodropout.pattern import ConvPattern
from autodropout.policy import Policy

if TYPE_CHECKING:
    from autodropout.report.samples import SiteSample

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_ASSUMED = "16x16"


@dataclass(frozen=True, kw_only=True)
class Show(Command):
    """Draw a policy's patterns: per site the parameters, the exact drop rate and a few random draws.

    What is dropped is dark. A policy does not know the maps of your model: say with --size how large a map
    to draw on, or with --task whose maps.

    For example:
      autodropout show runs/digits/best.json --task digits
      autodropout show policy.json --size 32x32 --png policy.png

    Attributes:
        path: The policy's JSON file.
        size: Height and width in pixels of the map to draw on.
        task: Take the size of each site's map from this task.
        png: Save a picture to this file, too.
        seed: Which random draws are shown.
        json: Print parameters and drop rates as JSON for a machine, and draw nothing in the terminal.
    """

    path: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="POLICY")]
    size: Annotated[str | None, tyro.conf.arg(metavar="HxW", help_behavior_hint=f"(default: {_ASSUMED})")] = (
        None
    )
    task: Annotated[str | None, tyro.conf.arg(metavar="TASK", help_behavior_hint="")] = None
    png: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    seed: int = 0
    json: bool = False

    def run(self) -> None:
        """Draw."""
        policy = loaded_policy(self.path)
        size = _parsed_size(_ASSUMED if self.size is None else self.size)
        from autodropout.report.draw import save_png, terminal_picture
        from autodropout.report.samples import SampleSettings, sample_policy

        settings = SampleSettings(size=size, sizes=_sizes_of(self.task, policy), seed=self.seed)
        samples = sample_policy(policy, settings)
        say = console(soft_wrap=self.json).print
        if self.json:
            document = {"key": policy.key, "schedule": policy.schedule, "sites": _plain(samples)}
            say(json.dumps(document, indent=2))
        else:
            say(terminal_picture(samples))
            if self.task is None and self.size is None and _has_maps(policy):
                say(f"Drawn on maps of {_ASSUMED}; drop rates on yours may differ: give --size, or --task.")
            if policy.schedule != "constant":
                say(f"Strength over training: {policy.schedule}.")
        if self.png is not None:
            save_png(samples, self.png, title=self.path.name)


def _has_maps(policy: Policy) -> bool:
    return any(isinstance(pattern, ConvPattern) for pattern in policy.sites.values())


def _parsed_size(text: str) -> tuple[int, int]:
    if found := _SIZE.fullmatch(text):
        return int(found[1]), int(found[2])
    raise UsageError(f"size is {text!r}; expected height x width in pixels, such as 32x32")


def _sizes_of(task: str | None, policy: Policy) -> Mapping[str, tuple[int, int]] | None:
    """Return the map sizes of a task; refuse a policy that is not for its model."""
    if task is None:
        return None
    from autodropout.conv_space import ConvSpace
    from autodropout.matching import match
    from autodropout.tasks.registry import task_named

    match(task_named(task).model(), policy)
    space = task_named(task).space()
    return space.sites if isinstance(space, ConvSpace) else None


def _plain(samples: Sequence["SiteSample"]) -> list[dict[str, object]]:
    return [
        {"site": s.key, "pattern": s.description, "of": s.axes, "drop_rate": s.drop_rate} for s in samples
    ]
