"""Gather the studies below a directory into one release."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodropout.benchmark.released import Release, Released
from autodropout.comparison.kept import COMPARISON
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.study import Study
from autodropout.errors import UsageError
from autodropout.result import Result, Trial

REPEATS = "repeats"
"""Name of the searcher that only tries again what others proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What lies below a directory.

    Attributes:
        release: The trials that returned a result.
        without: Trials that are left out, by study: they failed, have not ended, or were stopped early by
            successive halving.
        comparisons: Directories of comparisons, whose arms are left out.
    """

    release: Release
    without: Mapping[str, int]
    comparisons: tuple[str, ...]


def gather(directory: str | os.PathLike[str], *, floor: float | None, regressor: str) -> Gathered:
    """Read every study below a directory, whatever its name and searcher.

    Args:
        directory: Where studies lie, at any depth.
        floor: The task's floor.
        regressor: Word for the surrogate that the release is to have.

    Raises:
        UsageError: There is no study with a result, or the studies are of different tasks.
        LedgerError: A ledger is damaged.
    """
    root = Path(directory)
    studies = {
        file.parent.relative_to(root).as_posix(): Study(file.parent) for file in root.rglob(LEDGER_FILE)
    }
    searches = {name: s for name, s in studies.items() if s.record.searcher != COMPARISON}
    # Repeats last: so the first trial of a policy is that of the searcher who proposed it.
    ordered = sorted(searches.items(), key=lambda pair: (pair[1].record.searcher == REPEATS, pair[0]))
    trials, without = [], {}
    for name, study in ordered:
        kept = [trial for trial in study.trials if trial.result is not None and trial.budget == 1.0]
        without[name] = len(study.trials) - len(kept)
        trials += [(name, study, trial) for trial in kept]
    if not trials:
        raise UsageError(f"{root} holds no study with a finished trial; run experiments/landscape.py first")
    release = Release(
        task=_task([study for _, study in ordered], root),
        floor=floor,
        spaces=_spaces([study for _, study, _ in trials]),
        trials=_released(trials),
        regressor=regressor,
        machines=_distinct([study.record.machine for _, study in ordered]),
        versions=_distinct([study.record.versions for _, study in ordered]),
    )
    comparisons = tuple(sorted(set(studies) - set(searches)))
    return Gathered(release=release, without=without, comparisons=comparisons)


def _task(studies: Sequence[Study], root: Path) -> str:
    tasks = sorted({str(study.task) for study in studies})
    if len(tasks) > 1:
        raise UsageError(
            f"the studies below {root} are of the tasks {', '.join(tasks)}; a benchmark has one: "
            "name a directory with studies of one task"
        )
    return tasks[0]


def _spaces(studies: Sequence[Study]) -> dict[str, Any]:
    """Return the space of each trial's study, by key, the one with most trials first."""
    by_key = {study.space.key: study.space for study in studies}
    return {key: by_key[key] for key, _ in Counter(study.space.key for study in studies).most_common()}


def _released(trials: Sequence[tuple[str, Study, Trial]]) -> tuple[Released, ...]:
    seen: Counter[str] = Counter()
    released = []
    for name, study, trial in trials:
        key = trial.policy.key
        released.append(
            Released(
                policy=trial.policy,
                tokens=study.space.encode(trial.policy),
                space=study.space.key,
                source=study.record.searcher,
                study=name,
                kind=trial.kind,
                trial=trial.id,
                seed=trial.seed,
                result=_bare(trial.result),
                repeat=seen[key],
            )
        )
        seen[key] += 1
    return tuple(released)


def _bare(result: Result | None) -> Result:
    """Leave the curve out: it is most of the bytes."""
    if result is None:
        raise ValueError("only trials with a result are released")
    return Result(reward=result.reward, metrics=result.metrics, test=result.test, seconds=result.seconds)


def _distinct(documents: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for document in documents:
        if document not in found:
            found.append(document)
    return tuple(found)
