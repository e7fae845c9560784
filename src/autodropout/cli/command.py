"""What all commands have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from autodropout import zoo
from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.suggesting import suggested


@dataclass(frozen=True, kw_only=True)
class Command(ABC):
    """A command line, parsed.

    Attributes:
        debug: Show the full traceback of an error.
    """

    debug: bool = False

    @abstractmethod
    def run(self) -> None:
        """Do it; errors are raised."""


def loaded_policy(path: Path) -> Policy:
    """Read a policy from a file that the user named, or take it from the zoo.

    A file comes first: the zoo's names are for words that are no file's.

    Raises:
        UsageError: The file cannot be read.
        PatternError: It holds no policy.
    """
    if str(path) in zoo.names() and not path.exists():
        return zoo.load(str(path))
    try:
        if path.is_dir():
            raise UsageError(
                f"{path} is a directory; expected a policy's JSON file, such as {path / 'best.json'}"
            )
        return Policy.load(path)
    except OSError as error:
        remedy = suggested(str(path), zoo.names(), "name a policy's JSON file, or one of autodropout zoo")
        raise UsageError(f"{path} cannot be read ({error.strerror}); {remedy}") from error


def numbers(name: str, text: str, least: int) -> list[int]:
    """Return the numbers that stand in an option, with commas between them.

    Raises:
        UsageError: They are none, do not rise, or one is below ``least``.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    rising = all(before < after for before, after in pairwise(found))
    if not found or not rising or found[0] < least:
        raise UsageError(f"{name} is {text!r}; expected rising numbers of at least {least}, such as 1,2,4")
    return found


def devices_named(text: str | None) -> list[int] | None:
    """Return the devices of an option such as ``0,1``; None if it is not given.

    Raises:
        UsageError: They are none.
    """
    return None if text is None else numbers("devices", text, least=0)
