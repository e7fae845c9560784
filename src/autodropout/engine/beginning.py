"""How a search begins: its arguments are checked, its ledger is created or gone on with."""

import itertools
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodropout.engine.base import Searcher
from autodropout.engine.executors.base import Executor
from autodropout.engine.halving import Halving
from autodropout.engine.history import restore, searcher_of
from autodropout.engine.ledger import Ledger
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.ledger_records import StudyRecord
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.options import Options
from autodropout.engine.provenance import command, machine, versions
from autodropout.engine.searchers import make_searcher
from autodropout.engine.warm import Earlier, place_of
from autodropout.errors import LedgerError, UsageError
from autodropout.space import Space

_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What makes a study this study.

    Attributes:
        space: What to search.
        searcher: Name of a searcher, or one in its first state.
        seed: Seed of the whole study, from 0 to 2^63 - 1.
        task: Label of what is trained.
        halving: How budgets grow; None trains every policy in full.
        warm_start: Directory of an earlier study to learn from first; None for none. A study that has
            begun keeps what it began with.
        common_seed: Whether all search trials have the same seed.

    Raises:
        UsageError: A value is out of range.
    """

    space: Space
    searcher: str | Searcher
    seed: int
    task: str | None
    halving: Halving | None = None
    warm_start: str | os.PathLike[str] | None = None
    common_seed: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.space, Space):
            raise UsageError(f"space is {self.space!r}; expected a ConvSpace or a TokenSpace")
        whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        if not whole or not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"seed is {self.seed!r}; expected a whole number from 0 to {_LARGEST_SEED}")
        if not isinstance(self.task, str | None):
            raise UsageError(f"task is {self.task!r}; expected a label, or None")
        if not isinstance(self.halving, Halving | None):
            raise UsageError(f"halving is {self.halving!r}; expected a Halving, or None for full trainings")
        if not isinstance(self.common_seed, bool):
            raise UsageError(f"common_seed is {self.common_seed!r}; expected True or False")

    @property
    def first_budget(self) -> float:
        """Fraction of a full training that every policy begins with."""
        return 1.0 if self.halving is None else self.halving.budgets[0]


def begin(
    out: Path, asked: Asked, options: Options, build: Callable[[], Executor]
) -> tuple[Ledger, Searcher, Executor]:
    """Open the study in a directory, or create it; the searcher is in the state of its last update.

    Args:
        out: Its directory.
        asked: What makes it this study.
        options: How it is run.
        build: Makes the executor. If it refuses, no study has been created.

    Raises:
        UsageError: The directory holds another study.
        LedgerError: The ledger cannot be used, or a search is running there.
    """
    new = not (out / LEDGER_FILE).exists()
    ledger, searcher, executor = (_created if new else _resumed)(out, asked, options, build)
    try:
        if options.floor is not None:
            ledger.give_floor(options.floor)
        restore(ledger.read, searcher)
        ledger.plan(options.trials, options.to_plain())
    except BaseException:
        ledger.close()
        raise
    return ledger, searcher, executor


def foresee(out: Path, asked: Asked, options: Options) -> StudyRecord:
    """Return the study that a search would create in a directory, or go on with; nothing is made.

    Args:
        out: Its directory, which need not be there.
        asked: What makes it this study.
        options: How it would be run.

    Raises:
        UsageError: As ``begin``.
        LedgerError: The ledger cannot be read.
    """
    if not (out / LEDGER_FILE).exists():
        return _draft(asked, options)[0]
    with LedgerReader.open(out) as reader:
        study = reader.study()
    _check_same(out, study, asked, options)
    return study


def new_directory(name: str | None = None) -> Path:
    """Make a new directory under ``runs/`` and return it: nobody else is given the same.

    Args:
        name: What it is called, with a number if there is one already; None for the time, such as
            ``20260131-235959``.

    Raises:
        LedgerError: It cannot be made.
    """
    return next(path for path in _numbered(name) if _made(path))


def next_directory(name: str) -> Path:
    """Return what ``new_directory`` would make now; nothing is made."""
    return next(path for path in _numbered(name) if not path.exists())


def _numbered(name: str | None) -> Iterator[Path]:
    base = Path("runs") / (name or time.strftime("%Y%m%d-%H%M%S"))
    return (base if number == 1 else Path(f"{base}-{number}") for number in itertools.count(1))


def _made(path: Path) -> bool:
    """Make a directory; return False if something has its name."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError as error:
        raise LedgerError(f"{path} cannot be made ({error.strerror}); name a directory that can") from error
    return True


def _created(
    out: Path, asked: Asked, options: Options, build: Callable[[], Executor]
) -> tuple[Ledger, Searcher, Executor]:
    study, searcher, earlier = _draft(asked, options)
    if earlier is not None:
        earlier.teach(searcher)
    executor = build()
    return Ledger.create(out, study, searcher.snapshot()), searcher, executor


def _draft(asked: Asked, options: Options) -> tuple[StudyRecord, Searcher, Earlier | None]:
    """Return a new study, its searcher before it has seen any trial, and what that learns from first."""
    earlier = None if asked.warm_start is None else Earlier.read(asked.warm_start, asked.space)
    searcher = _first(asked, options)
    if earlier is not None:
        earlier.check(searcher)
    study = StudyRecord(
        space=asked.space.to_json(),
        task=asked.task,
        searcher=searcher.name,
        settings=_plain(searcher),
        seed=asked.seed,
        batch=searcher.batch,
        planned=options.trials,
        trials=options.trials,
        options=options.to_plain(),
        phase="search",
        versions=versions(),
        machine=machine(),
        command=command(),
        created=time.time(),
        halving=_halving(asked),
        warm=None if earlier is None else earlier.to_plain(),
        common_seed=asked.common_seed,
    )
    return study, searcher, earlier


def _first(asked: Asked, options: Options) -> Searcher:
    """Return the searcher before it has seen any trial."""
    searcher = asked.searcher
    if isinstance(searcher, str):
        searcher = make_searcher(
            searcher, asked.space, seed=asked.seed, trials=options.trials, batch=options.batch
        )
    elif options.batch not in (None, searcher.batch):
        raise UsageError(
            f"batch is {options.batch}, but the searcher's own is {searcher.batch}; give only one"
        )
    if searcher.batch > options.trials:
        warnings.warn(
            f"the searcher {searcher.name!r} learns from {searcher.batch} trials at a time, so it will learn "
            f"nothing from {options.trials}; ask for more trials or a smaller batch",
            stacklevel=6,
        )
    return searcher


def _resumed(
    out: Path, asked: Asked, options: Options, build: Callable[[], Executor]
) -> tuple[Ledger, Searcher, Executor]:
    ledger = Ledger.open(out)
    try:
        _check_same(out, ledger.study, asked, options)
        searcher = asked.searcher
        searcher = searcher_of(ledger.study) if isinstance(searcher, str) else searcher
        return ledger, searcher, build()
    except BaseException:
        ledger.close()
        raise


def _check_same(out: Path, study: StudyRecord, asked: Asked, options: Options) -> None:
    for name, theirs, ours in _identity(study, asked, options):
        if theirs != ours:
            raise UsageError(
                f"{out} holds a study with another {name}: {theirs!r} there, {ours!r} here; "
                f"name another directory, or go on with its own {name.partition(',')[0]}"
            )


def _identity(study: StudyRecord, asked: Asked, options: Options) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, value in the ledger, value asked for) of all that must not differ."""
    yield "task", study.task, asked.task
    yield from _spaces(study.space, asked.space.to_json())
    searcher = asked.searcher
    yield "searcher", study.searcher, searcher if isinstance(searcher, str) else searcher.name
    yield "seed", study.seed, asked.seed
    yield "batch", study.batch, study.batch if options.batch is None else options.batch
    yield "halving", study.halving, _halving(asked)
    yield "common seed", study.common_seed, asked.common_seed
    if asked.warm_start is not None:
        yield "warm start", None if study.warm is None else study.warm["out"], place_of(asked.warm_start)
    if not isinstance(searcher, str):
        settings = _plain(searcher)
        for name in sorted(settings.keys() | study.settings.keys()):
            yield f"setting of the searcher, {name}", study.settings.get(name), settings.get(name)


def _spaces(theirs: str, ours: str) -> Iterator[tuple[str, Any, Any]]:
    there, here = json.loads(theirs), json.loads(ours)
    telling = ("kind", "sites")  # which explain what else differs
    for name in sorted(there.keys() | here.keys(), key=lambda name: (name not in telling, name)):
        yield f"space, in its {name}", there.get(name), here.get(name)


def _halving(asked: Asked) -> dict[str, Any] | None:
    return None if asked.halving is None else asked.halving.to_plain()


def _plain(searcher: Searcher) -> dict[str, Any]:
    """Return the searcher's settings as they come back from JSON."""
    settings: dict[str, Any] = json.loads(json.dumps(dict(searcher.settings)))
    return settings
