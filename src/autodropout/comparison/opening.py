"""How a comparison begins: its arguments are checked, its ledger is created or gone on with."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from autodropout.comparison.arms import Arms
from autodropout.comparison.kept import COMPARISON, arms_from_json
from autodropout.comparison.reading import Reading
from autodropout.engine.ledger import Ledger
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import NewTrial, StudyRecord
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.provenance import command, machine, versions
from autodropout.engine.trial_seeds import trial_seed
from autodropout.errors import LedgerError, UsageError
from autodropout.policy import Policy
from autodropout.result import Trial

_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What makes a comparison this comparison.

    Attributes:
        arms: What is compared.
        seeds: On how many seeds; it may grow.
        seed: Seed that they follow from.
        task: Label of what is trained.
        reading: How the runs are read; it may differ from one call to the next.

    Raises:
        UsageError: A value is out of range, or names no arm.
    """

    arms: Arms
    seeds: int
    seed: int
    task: str | None
    reading: Reading

    def __post_init__(self) -> None:
        if not isinstance(self.seeds, int) or isinstance(self.seeds, bool) or self.seeds < 2:
            raise UsageError(
                f"seeds is {self.seeds!r}; a comparison needs at least 2, since one has no spread"
            )
        if not isinstance(self.seed, int) or not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"seed is {self.seed!r}; expected a whole number from 0 to {_LARGEST_SEED}")
        names, chosen = self.arms.names, self.reading.baselines
        if chosen is not None and (not chosen or set(chosen) - set(names)):
            raise UsageError(f"baselines is {list(chosen)}; expected at least one of the arms {list(names)}")


def begin(out: Path, asked: Asked, line: str | None = None) -> Ledger:
    """Open the comparison in a directory, or create it, with all runs that are missing queued.

    Runs that failed are queued again: whoever calls again has mended something.

    Args:
        out: The directory.
        asked: What to compare.
        line: Command that a new ledger names as the one that goes on; None for that of this process.

    Raises:
        UsageError: The directory holds another study, or more seeds.
        LedgerError: The ledger cannot be used, or a loop is running there.
    """
    ledger = (
        Ledger.open(out) if (out / LEDGER_FILE).exists() else Ledger.create(out, _record(asked, line), b"")
    )
    try:
        _check_identity(out, ledger.study, asked)
        ledger.forgive([t.id for t in ledger.read.trials(_no_policy) if t.state == "failed"])
        ledger.plan(asked.seeds * len(asked.arms.names), {"reading": asdict(asked.reading)})
        ledger.enqueue(_missing(ledger, asked))
    except BaseException:
        ledger.close()
        raise
    return ledger


def recorded(out: Path) -> tuple[tuple[Trial, ...], tuple[str, ...], tuple[int, ...], Reading]:
    """Return a comparison's runs, arms, seeds and last reading from its ledger.

    Raises:
        LedgerError: There is none, or the ledger is that of a search.
    """
    with LedgerReader.open(out) as reader:
        study, trials = reader.study(), reader.trials(_no_policy)
    if study.searcher != COMPARISON:
        raise LedgerError(f"{out} holds a search, not a comparison; name the directory of a comparison")
    names = tuple(json.loads(study.space)["arms"])
    seeds = tuple(trial_seed(study.seed, "compare", place) for place in range(study.trials // len(names)))
    reading = study.options["reading"]
    chosen = reading["baselines"]
    return trials, names, seeds, Reading(**reading | {"baselines": None if chosen is None else tuple(chosen)})


def _record(asked: Asked, line: str | None) -> StudyRecord:
    runs = asked.seeds * len(asked.arms.names)
    return StudyRecord(
        space=asked.arms.to_json(),
        task=asked.task,
        searcher=COMPARISON,
        settings={},
        seed=asked.seed,
        batch=1,
        planned=runs,
        trials=runs,
        options={},
        phase="confirm",
        versions=versions(),
        machine=machine(),
        command=line or command(),
        created=time.time(),
    )


def _check_identity(out: Path, study: StudyRecord, asked: Asked) -> None:
    if study.searcher != COMPARISON:
        raise UsageError(f"{out} holds a search; name another directory for the comparison")
    for name, theirs, ours in _identity(study, asked):
        if theirs != ours:
            raise UsageError(
                f"{out} holds a comparison with {name} {theirs!r}, not {ours!r}; "
                "name another directory, or go on with the same"
            )
    theirs, ours = _arms(study, asked)
    if other := [name for name, arm in theirs.items() if arm != ours[name]]:
        raise UsageError(
            f"{out} holds a comparison in which {_these(other)} not the same as here; name another directory"
        )
    there = study.trials // len(asked.arms.names)
    if asked.seeds < there:
        raise UsageError(f"{out} holds a comparison over {there} seeds; ask for at least as many")


def _identity(study: StudyRecord, asked: Asked) -> Iterator[tuple[str, object, object]]:
    yield "task", study.task, asked.task
    yield "seed", study.seed, asked.seed
    theirs, ours = _arms(study, asked)
    yield "arms", list(theirs), list(ours)


def _arms(study: StudyRecord, asked: Asked) -> tuple[dict[str, Policy | str], dict[str, Policy | str]]:
    return arms_from_json(study.space), arms_from_json(asked.arms.to_json())


def _these(names: list[str]) -> str:
    quoted = ", ".join(map(repr, names))
    return f"arm {quoted} is" if len(names) == 1 else f"arms {quoted} are"


def _missing(ledger: Ledger, asked: Asked) -> list[NewTrial]:
    """Return the runs that the ledger does not have yet, arm by arm, seed after seed."""
    arms = len(asked.arms.names)
    return [
        NewTrial(
            id=number,
            kind="compare",
            tokens=((number - 1) % arms,),
            log_prob=None,
            seed=trial_seed(asked.seed, "compare", (number - 1) // arms),
            updates_made=0,
            draw=None,
            place=(number - 1) // arms,
        )
        for number in range(ledger.read.next_id(), asked.seeds * arms + 1)
    ]


def _no_policy(tokens: tuple[int, ...]) -> Policy:
    del tokens
    return Policy({})
