"""``autodropout export DIR``."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from autodropout.cli.command import Command
from autodropout.cli.directory import check_study
from autodropout.cli.terminal import console


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write a search's trials for other tools, into the search's own directory.

    csv and parquet give every decision of every trial; optuna gives a database with one drop rate and one
    size per site, for optuna-dashboard; tensorboard gives scalars over trials and updates.

    For example:
      autodropout export runs/digits --to csv
      autodropout export runs/digits --to optuna

    Attributes:
        out: Directory of the study.
        to: For which tool.
    """

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    to: Literal["csv", "parquet", "optuna", "tensorboard"]

    def run(self) -> None:
        """Write the files and say how to look at them."""
        from autodropout.report.export import export

        check_study(self.out)
        say = console(soft_wrap=True).print
        paths = export(self.out, self.to)
        for path in paths:
            say(f"Wrote {path}")
        match self.to:
            case "optuna":
                address = shlex.quote(f"sqlite:///{paths[0]}")
                say(f"Look at it with:  optuna-dashboard {address}")
            case "tensorboard":
                folder = shlex.quote(str(paths[0].parent))
                say(f"Look at it with:  tensorboard --logdir {folder}")
