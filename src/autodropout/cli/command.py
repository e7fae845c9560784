"""What all commands have in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from autodropout import zoo
from autodropout.errors import UsageError
from autodropout.policy import Policy


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
        raise UsageError(
            f"{path} cannot be read ({error.strerror}); name a policy's JSON file, or one of autodropout zoo"
        ) from error
