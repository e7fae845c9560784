"""The command line: ``autodropout COMMAND``, generated from one frozen dataclass per command."""

import inspect
import os
import shutil
import sys
import textwrap
import traceback
import warnings
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, TextIO

import tyro

from autodropout import __version__
from autodropout.cli.benchmarking import Benchmark
from autodropout.cli.calibrating import Calibrate
from autodropout.cli.command import Command
from autodropout.cli.comparing import Compare
from autodropout.cli.controlling import Pause, Status, Stop
from autodropout.cli.doctor import Doctor
from autodropout.cli.exporting import Export
from autodropout.cli.listing import Tasks
from autodropout.cli.reporting import Report
from autodropout.cli.resuming import Resume
from autodropout.cli.searching import Search
from autodropout.cli.showing import Show
from autodropout.cli.tailing import Logs
from autodropout.cli.training import Train
from autodropout.cli.zoo import Zoo
from autodropout.engine.interrupting import unwrapped
from autodropout.errors import (
    AutoDropoutError,
    DataError,
    PatternError,
    SiteError,
    SpaceError,
    UsageError,
)

_COMMANDS: dict[str, tuple[type[Command], str]] = {
    "tasks": (Tasks, "What can be searched: size, cost, data."),
    "doctor": (Doctor, "Check this machine before a long search."),
    "calibrate": (Calibrate, "Find how many trials at a time are fastest."),
    "search": (Search, "Search the dropout policy for a task."),
    "resume": (Resume, "Go on with a search after any stop."),
    "compare": (Compare, "Compare a policy with tuned baselines."),
    "train": (Train, "Train a task's model once with a policy."),
    "benchmark": (Benchmark, "Compare searchers without training anything."),
    "zoo": (Zoo, "The policies that come with the package."),
    "show": (Show, "Draw a policy's patterns."),
    "report": (Report, "Write one HTML page about a search."),
    "export": (Export, "Write a search's trials for other tools."),
    "status": (Status, "How far a search is."),
    "pause": (Pause, "Let a running search rest, or go on."),
    "stop": (Stop, "Stop a running search."),
    "logs": (Logs, "Print what a trial printed."),
}
_DESCRIPTION = f"""Find, apply and explain structured dropout. Version {__version__}.

start here:
  autodropout tasks                     what can be searched
  autodropout search digits             five minutes on two cores
  autodropout show runs/digits/best.json
  autodropout search --help             every command has its own help
"""
_CONFIG = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.DisallowNone,
    tyro.conf.HelptextFromCommentsOff,
)
_WIDEST = 100
_WRONG_USE, _FAILURE, _INTERRUPTED = 2, 1, 130
_USERS = (UsageError, PatternError, SpaceError, SiteError, DataError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 1 for a failure, 2 for wrong use, 130 when interrupted.

    Args:
        argv: Arguments without the program's name; None takes those of this process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--version"]:
        sys.stdout.write(f"autodropout {__version__}\n")
        return 0
    try:
        return _run(_parsed(arguments))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else _WRONG_USE
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; what is still buffered must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILURE


def _parsed(arguments: list[str]) -> Command:
    if arguments and arguments[0] in _COMMANDS:
        name, *rest = arguments
        kind, _ = _COMMANDS[name]
        description = _wrapped(inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes:")[0])
        return tyro.cli(kind, prog=f"autodropout {name}", description=description, args=rest, config=_CONFIG)
    # Only for the overview and for the error about what is no command: here the commands have one line each.
    kinds: list[Any] = [
        Annotated[kind, tyro.conf.subcommand(name, description=line)]
        for name, (kind, line) in _COMMANDS.items()
    ]
    parsed: Command = tyro.cli(
        reduce(or_, kinds),
        prog="autodropout",
        description=_DESCRIPTION,
        args=arguments or ["--help"],
        config=_CONFIG,
    )
    return parsed


def _wrapped(text: str) -> str:
    """Break and indent long paragraphs for this terminal; examples stay as they are.

    tyro breaks no lines, and joins all but the indented ones, above which it makes two empty lines of one:
    what follows the first sentence therefore stands right below it.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    first, *paragraphs = text.strip().split("\n\n")
    heading = textwrap.fill(first, width, subsequent_indent="  ")
    fill = textwrap.TextWrapper(width, initial_indent="  ", subsequent_indent="  ").fill
    return "\n".join((heading, *(f"\n{p}" if "\n  " in p else fill(p) for p in paragraphs)))


def _run(command: Command) -> int:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            # The command ends with this one as its error.
            warnings.filterwarnings("ignore", message="no trial returned a finite reward")
            with unwrapped():
                command.run()
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:
        if command.debug:
            traceback.print_exc()
        else:
            sys.stderr.write(f"error: {_one_line(error)}\n")
        return _WRONG_USE if isinstance(error, _USERS) else _FAILURE
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Take the place of ``warnings.showwarning``: where in our code it was raised helps no user."""
    del category, filename, lineno, file, line
    sys.stderr.write(f"warning: {' '.join(str(message).split())}\n")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, AutoDropoutError):
        return text
    return f"{type(error).__name__}: {text} (this should not happen; run it again with --debug to see where)"
