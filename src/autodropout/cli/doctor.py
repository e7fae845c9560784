"""``autodropout doctor``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autodropout.cli.command import Command
from autodropout.cli.terminal import console
from autodropout.errors import StudyError

if TYPE_CHECKING:
    from autodropout.cli.checking import Finding

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, kw_only=True)
class Doctor(Command):
    """Check this machine before a long search: file system, memory, cores, GPUs, workers, Ray.

    It writes small files for a moment and starts one worker process; nothing stays behind. The exit code is
    0 if a search would run, even badly, and 1 if it would not.

    For example:
      autodropout doctor
      autodropout doctor --out /scratch/runs --json
      autodropout doctor --address auto

    Attributes:
        out: Directory that a search would write to.
        address: Address of a Ray cluster to look at, such as auto.
        json: Print JSON for a machine instead of a table.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs")
    address: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    json: bool = False

    def run(self) -> None:
        """Check, and print what was found.

        Raises:
            StudyError: A search would not run here.
        """
        from autodropout.cli.checking import directory_checks, findings
        from autodropout.cli.machine import machine_checks

        found = list(findings(directory_checks(self.out) | machine_checks(self.address)))
        terminal = console(soft_wrap=self.json)
        terminal.print(json.dumps([asdict(one) for one in found], indent=2) if self.json else _table(found))
        if failed := [one.name for one in found if one.state == "fail"]:
            raise StudyError(f"a search would not run here; see {', '.join(failed)} above")


def _table(found: Sequence["Finding"]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for one in found:
        text = Text(one.text)
        shown = Group(text, Text(f"-> {one.remedy}")) if one.remedy else text
        table.add_row(Text(one.state, style=_STYLES[one.state]), Text(one.name, style="bold"), shown)
    return table
