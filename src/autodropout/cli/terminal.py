"""What is printed in a terminal: as it is, and with commands that work when they are pasted."""

import os
import shlex
import shutil
import sys
from pathlib import Path

from rich.console import Console

NAME = "autodropout"


def console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """Return a console that prints texts as they are: paths and errors may look like markup or emoji codes.

    Args:
        stderr: Print to the error stream.
        soft_wrap: Break no lines.
    """
    return Console(stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def program() -> tuple[str, ...]:
    """Return the words that call this program again: its name where the shell finds it, else its path."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py" and called.parent.name == NAME:
        return sys.executable, "-m", NAME
    if called.stem != NAME or not called.is_file():
        return (NAME,)
    found = shutil.which(NAME)
    return (NAME,) if found is not None and os.path.samefile(found, called) else (str(called),)


def command(*words: str | Path) -> str:
    """Return a command line of this program, quoted for a shell."""
    return shlex.join([*program(), *map(str, words)])
