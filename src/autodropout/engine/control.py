"""How other processes talk to a running search: one small file, written atomically, read every turn."""

import json
import os
from pathlib import Path
from typing import Literal, get_args

from autodropout.atomic import write_text
from autodropout.errors import LedgerError, UsageError

Verb = Literal["go", "pause", "stop"]

CONTROL_FILE = "control.json"


def request(out: str | os.PathLike[str], verb: Verb) -> None:
    """Ask the search in ``out`` to pause, to go on or to stop; it obeys at its next turn.

    A paused search lets its running trials end and starts none. A stopped one ends them at once and
    runs them again when it is resumed.

    Args:
        out: Directory of the study.
        verb: ``"pause"``, ``"go"`` or ``"stop"``.

    Raises:
        UsageError: The verb is unknown.
        LedgerError: The file cannot be written.
    """
    if verb not in get_args(Verb):
        raise UsageError(f"verb is {verb!r}; expected one of {', '.join(get_args(Verb))}")
    path = Path(out) / CONTROL_FILE
    try:
        write_text(path, json.dumps({"verb": verb}) + "\n")
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be written ({error}); is {out} the directory of a study?"
        ) from error


def withdraw(out: str | os.PathLike[str]) -> None:
    """Forget what was last asked of the search in ``out``."""
    (Path(out) / CONTROL_FILE).unlink(missing_ok=True)


def requested(out: str | os.PathLike[str]) -> Verb:
    """Return what was last asked of the search in ``out``; ``"go"`` if nothing was.

    Raises:
        LedgerError: The file is there but holds no request.
    """
    path = Path(out) / CONTROL_FILE
    try:
        text = path.read_text(encoding="utf8")
    except FileNotFoundError:
        return "go"
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path} cannot be read ({error}); delete it and resume") from error
    return _verb(path, text)


def _verb(path: Path, text: str) -> Verb:
    try:
        verb: Verb = json.loads(text)["verb"]
    except (ValueError, TypeError, KeyError) as error:
        raise LedgerError(f"{path} holds {text[:80]!r}, which is no request; delete it and resume") from error
    if verb not in get_args(Verb):
        raise LedgerError(f"{path} asks for {verb!r}; expected one of {', '.join(get_args(Verb))}")
    return verb
