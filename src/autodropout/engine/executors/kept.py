"""Results that finished trials leave on disk, for a driver that was not there to hear of them."""

import json
import logging
from dataclasses import replace
from pathlib import Path

from autodropout.atomic import write_text
from autodropout.engine.executors.base import Job
from autodropout.engine.ledger_records import result_from_json, result_to_json
from autodropout.result import Result

_SCHEMA = 1
_log = logging.getLogger(__name__)


def keep(folder: Path, job: Job, result: Result) -> None:
    """Write what an attempt returned, all of it or nothing.

    Raises:
        OSError: It cannot be written.
    """
    write_text(folder / _name(job), json.dumps(_identity(job) | {"result": result_to_json(result)}))


def find(folder: Path, job: Job) -> Result | None:
    """Return what this attempt or an earlier one of the same trial returned, if any left its result.

    A trial is a function of policy, seed and budget, so a result with others of them is another
    trial's. One that cannot be read is not there: the trial is then run again.
    """
    for path in sorted(folder.glob(f"trial-{job.trial:06d}-*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf8"))
            attempt, text = document.pop("attempt"), document.pop("result")
            if attempt <= job.attempt and document | {"attempt": job.attempt} == _identity(job):
                return result_from_json(text)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("%s is no result and is left alone: %s", path, error)
    return None


def forget(folder: Path, job: Job) -> None:
    """Delete what this attempt and earlier ones at its trial left, drafts of killed ones included."""
    for attempt in range(1, job.attempt + 1):
        for path in folder.glob(f"{_name(replace(job, attempt=attempt))}*"):
            path.unlink(missing_ok=True)


def _identity(job: Job) -> dict[str, object]:
    return {
        "schema": _SCHEMA,
        "trial": job.trial,
        "attempt": job.attempt,
        "policy": job.policy.key,
        "seed": job.seed,
        "budget": job.budget,
    }


def _name(job: Job) -> str:
    return f"trial-{job.trial:06d}-{job.attempt}.json"
