"""Released trials: what each holds, and the one text file that they are kept in."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodropout.atomic import write_text
from autodropout.errors import AutoDropoutError, DataError
from autodropout.policy import Policy
from autodropout.result import Result, TrialKind
from autodropout.space import Space
from autodropout.space_json import space_from_json

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """One trial of a landscape.

    Attributes:
        policy: What was tried.
        tokens: Its tokens in the space that it was drawn from, PAD at dead positions.
        space: Key of that space.
        source: Searcher that proposed it.
        study: Directory of its study, relative to the landscape's.
        kind: ``"search"``, or ``"confirm"`` for a policy that was run again because it had done well.
        trial: Number of the trial in its study.
        seed: Seed that it was trained with.
        result: What it returned, without the curve; its reward is NaN where training diverged.
        repeat: How many trials of the same policy stand before it.
    """

    policy: Policy
    tokens: tuple[int, ...]
    space: str
    source: str
    study: str
    kind: TrialKind
    trial: int
    seed: int
    result: Result
    repeat: int

    @property
    def diverged(self) -> bool:
        """Whether it has no finite reward."""
        return not math.isfinite(self.result.reward)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """All trials of a landscape, and where they come from.

    Attributes:
        task: The task's key.
        floor: Reward that a searcher is taught for a trial that diverged; None for the worst one of all.
        spaces: The spaces that were searched, by key; that with most trials first.
        trials: The trials, in a fixed order.
        regressor: Word for the surrogate that predicts them best.
        machines: The machines they ran on.
        versions: The versions they ran with.
        licence: What may be done with it, one sentence or more; empty in files that do not say it.
    """

    task: str
    floor: float | None
    spaces: Mapping[str, Space]
    trials: tuple[Released, ...]
    regressor: str
    machines: tuple[Mapping[str, Any], ...]
    versions: tuple[Mapping[str, Any], ...]
    licence: str = ""

    def to_text(self) -> str:
        """Return JSON Lines: what all trials share, then one line per trial. Equal releases, equal text."""
        lines = [_dumped(_header(self)), *(_dumped(_line(trial)) for trial in self.trials)]
        return "\n".join(lines) + "\n"

    def save(self, path: Path) -> None:
        """Write the text.

        Raises:
            OSError: It cannot be written.
        """
        write_text(path, self.to_text())


def read_release(text: str, name: str) -> Release:
    """Return the release whose ``to_text`` gave this.

    Args:
        text: Content of the file.
        name: What to call it in errors.

    Raises:
        DataError: The text is damaged or of another schema.
    """
    if not text.strip():
        raise DataError(f"{name} is empty; write it again with experiments/release.py")
    first, *lines = text.splitlines()
    try:
        header = json.loads(first)
        if header["schema"] != SCHEMA:
            raise DataError(
                f"{name} has schema {header['schema']!r}; this version of autodropout reads {SCHEMA}"
            )
        if header["trials"] != len(lines):
            raise DataError(f"{name} has {len(lines)} of its {header['trials']} trials; copy it again")
        spaces = {key: space_from_json(json.dumps(space)) for key, space in header["spaces"].items()}
        return Release(
            task=header["task"],
            floor=header["floor"],
            spaces=spaces,
            trials=_trials([json.loads(line) for line in lines], spaces),
            regressor=header["regressor"],
            machines=tuple(header["machines"]),
            versions=tuple(header["versions"]),
            licence=header.get("licence", ""),
        )
    except DataError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, AutoDropoutError) as error:
        raise DataError(f"{name} is damaged ({type(error).__name__}: {error}); copy it again") from error


def _header(release: Release) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "task": release.task,
        "floor": release.floor,
        "trials": len(release.trials),
        "spaces": {key: json.loads(space.to_json()) for key, space in release.spaces.items()},
        "regressor": release.regressor,
        "machines": [dict(machine) for machine in release.machines],
        "versions": [dict(versions) for versions in release.versions],
        "licence": release.licence,
    }


def _line(trial: Released) -> dict[str, Any]:
    result = trial.result
    return {
        "study": trial.study,
        "trial": trial.trial,
        "kind": trial.kind,
        "source": trial.source,
        "space": trial.space,
        "tokens": list(trial.tokens),
        "seed": trial.seed,
        "reward": None if trial.diverged else result.reward,
        "metrics": _finite(result.metrics),
        "test": _finite(result.test),
        "seconds": result.seconds,
    }


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures as JSON has them: it knows no NaN and no infinity."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _trials(lines: Sequence[Mapping[str, Any]], spaces: Mapping[str, Space]) -> tuple[Released, ...]:
    seen: dict[str, int] = {}
    policies: dict[tuple[str, tuple[int, ...]], Policy] = {}
    trials = []
    for line in lines:
        key, tokens = line["space"], tuple(line["tokens"])
        policy = policies.setdefault((key, tokens), spaces[key].decode(tokens))
        repeat = seen.get(policy.key, 0)
        seen[policy.key] = repeat + 1
        trials.append(_released(line, policy, repeat))
    return tuple(trials)


def _released(line: Mapping[str, Any], policy: Policy, repeat: int) -> Released:
    return Released(
        policy=policy,
        tokens=tuple(line["tokens"]),
        space=line["space"],
        source=line["source"],
        study=line["study"],
        kind=line["kind"],
        trial=line["trial"],
        seed=line["seed"],
        result=Result(
            reward=_number(line["reward"]),
            metrics={name: _number(value) for name, value in line["metrics"].items()},
            test={name: _number(value) for name, value in line["test"].items()},
            seconds=line["seconds"],
        ),
        repeat=repeat,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _dumped(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), allow_nan=False)
