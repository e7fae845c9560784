"""``autodropout report DIR``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from autodropout.cli.command import Command
from autodropout.cli.directory import check_study
from autodropout.cli.terminal import console


@dataclass(frozen=True, kw_only=True)
class Report(Command):
    """Write one HTML page about a search: progress, best policies, what mattered, costs, failures.

    The page needs no network and no other file. With --follow it is written again and again while the
    search runs, and a browser that shows it keeps up.

    For example:
      autodropout report runs/digits
      autodropout report runs/digits --follow

    Attributes:
        out: Directory of the study.
        to: The file to write.
        follow: Keep the page up to date until the search is finished.
        seconds: With --follow: time between two versions.
    """

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    to: Annotated[
        Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: DIR/report.html)")
    ] = None
    follow: bool = False
    seconds: float = 5.0

    def run(self) -> None:
        """Write the page and say where it is."""
        from autodropout.report.html import REPORT_FILE, follow_report, write_report

        check_study(self.out)
        say = console(soft_wrap=True).print
        path = self.to or self.out / REPORT_FILE
        if self.follow:
            say(f"Keeping {path} up to date; Ctrl-C ends this, not the search.")
            follow_report(self.out, to=self.to, seconds=self.seconds)
        else:
            write_report(self.out, to=self.to)
        say(f"Report: {path.resolve().as_uri()}")
