"""One attempt at one trial: call the evaluation, measure it, say how it ended, keep its output."""

import errno
import os
import time
import traceback
from pathlib import Path
from typing import Any, cast

import cloudpickle

from autodropout.engine.executors.base import Done, Evaluate, Job, Raised
from autodropout.engine.places import log_name
from autodropout.errors import LedgerError, UsageError
from autodropout.result import Result

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


def run(evaluate: Evaluate, job: Job, passing: tuple[type[BaseException], ...] = ()) -> Done | Raised:
    """Call ``evaluate`` once and return what became of it.

    Args:
        evaluate: What to call with the job's policy and seed, and its budget if it has one.
        job: The attempt.
        passing: Exceptions that go through to the caller instead of becoming ``Raised``.

    Returns:
        ``Done`` with plain data and measured seconds, or ``Raised``.

    Raises:
        OSError: The disk is full. That is the machine's fault, so it must not count against the policy.
    """
    called = cast(Any, evaluate)
    budget = () if job.budget is None else (job.budget,)
    began = time.perf_counter()
    try:
        return Done(result=_as_result(called(job.policy, job.seed, *budget), began))
    except passing:
        raise
    except BaseException as error:  # a trial that calls sys.exit must not take its worker along
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise
        return raised(error)


def raised(error: BaseException, before: str = "") -> Raised:
    """Return the ``Raised`` of an exception that was just caught; ``before`` opens its one-line text."""
    frames = error.__traceback__.tb_next if error.__traceback__ else None  # the first frame is ours
    text = traceback.TracebackException.from_exception(error)
    message = "".join(str(text).splitlines(keepends=True)[:1]).strip()
    line = ": ".join(part for part in (before, type(error).__name__, message) if part)
    return Raised(error=line, traceback="".join(traceback.format_exception(type(error), error, frames)))


def log_path(log_dir: Path | None, job: Job) -> Path | None:
    """Return the file that keeps what this attempt prints, such as ``trial-000017-1.log``, if any does."""
    return log_dir and log_dir / log_name(job.trial, job.attempt)


def log_error(path: Path | None, error: OSError) -> LedgerError:
    """Return the error that stops a search because something cannot be written; path: most likely what."""
    where = error.filename or path or "the trial's output"
    return LedgerError(f"{where} cannot be written ({error.strerror}); make room or choose another directory")


def make_log_dir(log_dir: str | os.PathLike[str]) -> Path:
    """Create the folder for the attempts' output and return its absolute path.

    Raises:
        LedgerError: It cannot be created or written to.
    """
    folder = make_folder(log_dir)
    try:
        (folder / "workers.log").touch()
    except OSError as error:
        raise log_error(folder, error) from error
    return folder


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder if it is missing and return its absolute path.

    Raises:
        LedgerError: It cannot be created.
    """
    folder = Path(path).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise log_error(folder, error) from error
    return folder


def checked_timeout(timeout: float | None) -> float | None:
    """Return a time limit.

    Raises:
        UsageError: It is no number above 0.
    """
    if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):
        raise UsageError(f"timeout is {timeout!r}; expected seconds above 0, or None for no limit")
    return timeout


def check_evaluate(evaluate: object) -> None:
    """Refuse what cannot be called.

    Raises:
        UsageError: ``evaluate`` is not callable.
    """
    if not callable(evaluate):
        raise UsageError(f"evaluate is {evaluate!r}; expected a function of (policy, seed)")


def pickled(evaluate: Evaluate) -> bytes:
    """Return an evaluation as cloudpickle's bytes.

    Raises:
        UsageError: It cannot be called, or cannot be pickled.
    """
    check_evaluate(evaluate)
    try:
        data: bytes = cloudpickle.dumps(evaluate)
    except Exception as error:  # whatever a __reduce__ may raise
        raise UsageError(
            f"evaluate cannot be sent to a worker ({error}); create what cannot be pickled inside it"
        ) from error
    return data


def _as_result(value: object, began: float) -> Result:
    if isinstance(value, Result):
        seconds = time.perf_counter() - began if value.seconds is None else value.seconds
        return Result(
            reward=value.reward, metrics=value.metrics, test=value.test, curve=value.curve, seconds=seconds
        )
    reward = _as_number(value)
    return Result(reward=reward, seconds=time.perf_counter() - began)


def _as_number(value: object) -> float:
    refusal = f"evaluate returned a {type(value).__qualname__}; expected one number or an autodropout.Result"
    if isinstance(value, str | bytes | bytearray):
        raise UsageError(refusal)
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UsageError(refusal) from error
