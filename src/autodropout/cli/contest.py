"""Hold a comparison in the terminal: tune the baselines, run all arms, say and save what that shows."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from autodropout.applying import match
from autodropout.cli.account import POLICY, RANDOM, Account, RandomSearch, quoted_tables, save, tables
from autodropout.cli.combining import contenders, name_on_policy
from autodropout.cli.quoting import top5_of
from autodropout.cli.terminal import NAME, command, console
from autodropout.cli.watching import Watch
from autodropout.comparison import Comparison, compare
from autodropout.comparison.arms import Arm
from autodropout.comparison.kept import kept
from autodropout.comparison.tuning import LEAST_TRIALS, Sweep, Tuned
from autodropout.engine.confirm import Confirmation
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.options import check_devices
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import DataError, StudyError, UsageError
from autodropout.policy import Policy
from autodropout.tasks.base import Baseline, Task, figure_of

NONE = "none"
"""The baseline that changes nothing."""

_LEAST_SEEDS = 2
_TUNE = "tune"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What to compare and how; the fields are those of the command ``compare``, all of them decided.

    Raises:
        DataError: The task's data are missing.
        UsageError: A number is too small, or the directory holds something else.
        SiteError: The policy does not fit the task's model.
        ApplyError: A combined baseline does not fit beside it.
    """

    task: Task
    policy: Policy
    baselines: tuple[str, ...]
    combined: tuple[str, ...]
    tune_trials: int
    random_trials: int | None
    seeds: int
    workers: int
    executor: Literal["local", "inline"]
    devices: Sequence[int] | None
    out: Path
    seed: int
    timeout: float | None
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        # Tuning takes long: what compare() would refuse after it is refused before.
        if missing := self.task.missing():
            raise DataError(missing)
        least = {"random_trials": 1, "seeds": _LEAST_SEEDS, "workers": 1}
        if self.contenders:
            least["tune_trials"] = LEAST_TRIALS
        for name, number in least.items():
            value = getattr(self, name)
            if value is not None and value < number:
                raise UsageError(f"{name} is {value}; expected at least {number}")
        check_devices(self.devices, self.executor)
        match(self.task.model(), self.policy)
        for name, baseline in self.contenders.items():
            if name not in self.baselines:
                baseline.put(self.task.model(), baseline.strengths[0])
        check_same(self)

    @property
    def contenders(self) -> Mapping[str, Baseline]:
        """What has a strength to tune, by name."""
        return contenders(self.task, self.policy, self.baselines, self.combined)

    @property
    def manner(self) -> dict[str, Any]:
        """How everything is run, as arguments of ``compare`` and ``search``."""
        names = ("workers", "executor", "devices", "seed", "timeout")
        return {name: getattr(self, name) for name in names} | {"task": self.task.key}

    @property
    def command(self) -> str:
        """The command line that goes on with this comparison."""
        return command(*self.words)


def check_same(contest: Contest) -> None:
    """Refuse a directory that holds another comparison than this one.

    Raises:
        UsageError: It does, or it holds a search.
    """
    out, there = contest.out, kept(contest.out)
    if there is None:
        return
    random = [] if contest.random_trials is None else [RANDOM]
    combined = map(name_on_policy, contest.combined)
    for what, theirs, ours in (
        ("task", there.task, contest.task.key),
        ("seed", there.seed, contest.seed),
        # An arm is named after its baseline and the strength that tuning finds.
        ("arms", [name.split()[0] for name in there.arms], [*contest.baselines, *random, POLICY, *combined]),
    ):
        if theirs != ours:
            raise UsageError(
                f"{out} holds a comparison with {what} {theirs!r}, not {ours!r}; name another directory"
            )
    if there.arms[POLICY] != contest.policy:
        raise UsageError(f"{out} holds a comparison of another policy; name another directory")
    if contest.seeds < there.seeds:
        raise UsageError(f"{out} holds a comparison over {there.seeds} seeds; ask for at least as many")
    _check_spent(contest)


def _check_spent(contest: Contest) -> None:
    """Refuse other budgets, under which the arms that were found might be others."""
    for name, baseline in contest.contenders.items():
        tuned = kept(contest.out / _TUNE / name)
        if tuned is None:
            continue
        sweep = Sweep.spread(name, baseline.strengths, contest.tune_trials)
        if (len(tuned.arms), tuned.seeds) != (len(sweep.strengths), sweep.seeds):
            raise UsageError(
                f"{contest.out} holds a comparison with {name} tuned on {len(tuned.arms)} strengths and "
                f"{tuned.seeds} seeds, and tune_trials {contest.tune_trials} gives {len(sweep.strengths)} "
                f"and {sweep.seeds}; give the same number as before, or name another directory"
            )
    random = contest.out / RANDOM
    if contest.random_trials is None or not (random / LEDGER_FILE).is_file():
        return
    if (trials := Study.open(random).record.trials) != contest.random_trials:
        raise UsageError(
            f"{contest.out} holds a comparison with {trials} random trials, not {contest.random_trials}; "
            "give the same number as before, or name another directory"
        )


class _StoppedError(Exception):
    """Another process asked for a stop."""


def hold(contest: Contest, *, json: bool) -> None:
    """Compare, showing the progress; then print the table and save it.

    Args:
        contest: What and how.
        json: Print JSON, and everything else to the error stream.

    Raises:
        KeyboardInterrupt: The user stopped it; how to go on has been said.
        StudyError: Trials go wrong for a reason of their own.
    """
    terminal = console(stderr=json)
    try:
        account = _account(contest, terminal)
    except KeyboardInterrupt:
        terminal.print(f"Stopped; nothing is lost. Go on with: {contest.command}", soft_wrap=True)
        raise
    except _StoppedError:
        terminal.print(f"Stopped on request. Go on with: {contest.command}", soft_wrap=True)
        return
    saved = save(account, contest.out)
    if json:
        console(soft_wrap=True).print(account.to_json(), end="")
    else:
        _show(terminal, account)
        terminal.print(f"Saved: {', '.join(map(str, saved))}", soft_wrap=True)


def _show(terminal: Console, account: Account) -> None:
    terminal.print()
    for table in tables(account.comparison, terminal.width):
        terminal.print(table)
        terminal.print()
    if account.idle is not None:
        terminal.print(account.idle)
    for sentence in account.comparison.conclusions:
        terminal.print(sentence)
    for said in (account.against_random, account.quoted_elsewhere):
        if said is not None:
            terminal.print(said)
    terminal.print()
    for table in quoted_tables(account.quoted):
        terminal.print(table)
        terminal.print()


def _account(contest: Contest, terminal: Console) -> Account:
    task = contest.task
    known = contest.contenders
    tuned = {name: _tuned(contest, baseline, terminal) for name, baseline in known.items()}
    random = None if contest.random_trials is None else _searched(contest, contest.random_trials, terminal)
    arms: dict[str, Arm] = {}
    for name in contest.baselines:
        arms |= {NONE: None} if name == NONE else _arm(task, known[name], tuned[name])
    against = tuple(arms)
    if random is not None:
        arms[RANDOM] = random.policy
    arms[POLICY] = contest.policy
    for name in map(name_on_policy, contest.combined):
        arms |= _arm(task, known[name], tuned[name])
    comparison = _compared(contest, arms, against, terminal)
    return Account(
        task=task.name,
        summary=task.summary,
        command=shlex.join((NAME, *contest.words)),
        policy=contest.policy,
        tuned=tuple(tuned.values()),
        random=random,
        comparison=comparison,
        top5=top5_of(contest.out),
    )


def _arm(task: Task, baseline: Baseline, tuned: Tuned) -> dict[str, Arm]:
    return {f"{baseline.name} {tuned.strength:g}": partial(task.train, baseline.at(tuned.strength))}


def _tuned(contest: Contest, baseline: Baseline, terminal: Console) -> Tuned:
    sweep = Sweep.spread(baseline.name, baseline.strengths, contest.tune_trials)
    out = contest.out / _TUNE / baseline.name
    title = (
        f"Tuning {baseline.name} on validation: {len(sweep.strengths)} strengths on {sweep.seeds} seeds each"
    )
    with Watch(terminal, title, "tuning") as watch:
        found = compare(
            contest.task.evaluate,
            sweep.arms(lambda strength: partial(contest.task.train, baseline.at(strength))),
            seeds=sweep.seeds,
            figure="reward",
            out=out,
            floor=contest.task.floor,
            command=contest.command,
            on_event=watch,
            **contest.manner,
        )
    if not found.finished:
        raise _StoppedError
    tuned = sweep.read(found)
    terminal.print(str(tuned), soft_wrap=True)
    return tuned


def _searched(contest: Contest, trials: int, terminal: Console) -> RandomSearch:
    """Return the best of as many random policies, confirmed as a search of the task confirms its own."""
    task, budget = contest.task, contest.task.budget
    with Watch(terminal, f"Searching {trials} random policies") as watch:
        study = search(
            task.evaluate,
            task.space(),
            trials=trials,
            searcher="random",
            out=contest.out / "random",
            floor=task.floor,
            confirm=Confirmation(top=budget.confirm_top, seeds=budget.confirm_seeds),
            on_event=watch,
            **contest.manner,
        )
    if not study.finished:
        raise _StoppedError
    best = study.best
    if best is None:
        raise StudyError(f"no random policy returned a finite reward; see {study.out / 'logs'}")
    return RandomSearch(trials=trials, confirmations=len(study.trials) - trials, policy=best.policy)


def _compared(
    contest: Contest, arms: dict[str, Arm], against: tuple[str, ...], terminal: Console
) -> Comparison:
    figure = figure_of(contest.task)
    title = f"Comparing {len(arms)} arms on {contest.seeds} seeds each in {contest.out}"
    with Watch(terminal, title, "comparing") as watch:
        found = compare(
            contest.task.evaluate,
            arms,
            seeds=contest.seeds,
            baselines=against,
            figure=figure.name,
            higher_is_better=figure.higher_is_better,
            out=contest.out,
            floor=figure.floor,
            command=contest.command,
            on_event=watch,
            **contest.manner,
        )
    if not found.finished:
        raise _StoppedError
    return found
