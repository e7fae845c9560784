"""Hold a comparison in the terminal: tune the baselines, run all arms, say and save what that shows."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console

from autodropout.applying import match
from autodropout.cli.account import POLICY, RANDOM, Account, RandomSearch, save, tables
from autodropout.cli.watching import Watch
from autodropout.comparison import Comparison, compare
from autodropout.comparison.arms import Arm
from autodropout.comparison.opening import SEARCHER
from autodropout.comparison.tuning import LEAST_TRIALS, Sweep, Tuned
from autodropout.engine.confirm import Confirmation
from autodropout.engine.ledger_schema import LEDGER_FILE
from autodropout.engine.run import search
from autodropout.engine.study import Study
from autodropout.errors import DataError, StudyError, UsageError
from autodropout.policy import Policy
from autodropout.tasks.base import Baseline, Task

NONE = "none"
"""The baseline that changes nothing."""

_LEAST_SEEDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What to compare and how; the fields are those of the command ``compare``, all of them decided.

    Raises:
        DataError: The task's data are missing.
        UsageError: A number is too small, the policy drops nothing, or the directory holds a search.
        SiteError: The policy does not fit the task's model.
    """

    task: Task
    policy: Policy
    baselines: tuple[str, ...]
    tune_trials: int
    random_trials: int | None
    seeds: int
    workers: int
    executor: Literal["local", "inline"]
    out: Path
    seed: int
    timeout: float | None
    command: str

    def __post_init__(self) -> None:
        # Tuning takes long: what compare() would refuse after it is refused before.
        if missing := self.task.missing():
            raise DataError(missing)
        least = {"tune_trials": LEAST_TRIALS, "random_trials": 1, "seeds": _LEAST_SEEDS, "workers": 1}
        for name, number in least.items():
            value = getattr(self, name)
            if value is not None and value < number:
                raise UsageError(f"{name} is {value}; expected at least {number}")
        if all(pattern.off for pattern in self.policy.sites.values()):
            raise UsageError("the policy drops nothing, which is the baseline 'none'; name another policy")
        match(self.task.model(), self.policy)
        if (self.out / LEDGER_FILE).is_file() and Study(self.out).record.searcher != SEARCHER:
            raise UsageError(f"{self.out} holds a search; name another directory for the comparison")


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
    console = Console(highlight=False, stderr=json)
    try:
        account = _account(contest, console)
    except KeyboardInterrupt:
        console.print(f"Stopped; nothing is lost. Go on with: {contest.command}", soft_wrap=True)
        raise
    except _StoppedError:
        console.print(f"Stopped on request. Go on with: {contest.command}", soft_wrap=True)
        return
    saved = save(account, contest.out)
    if json:
        Console(highlight=False, soft_wrap=True).print(account.to_json(), markup=False, end="")
    else:
        _show(console, account)
        console.print(f"Saved: {', '.join(map(str, saved))}", soft_wrap=True)


def _show(console: Console, account: Account) -> None:
    console.print()
    for table in tables(account.comparison, console.width):
        console.print(table)
        console.print()
    for sentence in account.comparison.conclusions:
        console.print(sentence, markup=False)
    if account.against_random is not None:
        console.print(account.against_random, markup=False)
    console.print()


def _account(contest: Contest, console: Console) -> Account:
    task = contest.task
    known = {baseline.name: baseline for baseline in task.baselines}
    tuned = {name: _tuned(contest, known[name], console) for name in contest.baselines if name != NONE}
    random = None if contest.random_trials is None else _searched(contest, contest.random_trials, console)
    arms: dict[str, Arm] = {}
    for name in contest.baselines:
        if name == NONE:
            arms[name] = None
        else:
            strength = tuned[name].strength
            arms[f"{name} {strength:g}"] = partial(task.train, known[name].at(strength))
    if random is not None:
        arms[RANDOM] = random.policy
    return Account(
        task=task.name,
        summary=task.summary,
        command=contest.command,
        policy=contest.policy,
        tuned=tuple(tuned.values()),
        random=random,
        comparison=_compared(contest, arms, console),
    )


def _tuned(contest: Contest, baseline: Baseline, console: Console) -> Tuned:
    sweep = Sweep.spread(baseline.name, baseline.strengths, contest.tune_trials)
    out = contest.out / "tune" / baseline.name
    title = (
        f"Tuning {baseline.name} on validation: {len(sweep.strengths)} strengths on {sweep.seeds} seeds each"
    )
    with Watch(console, title, "tuning") as watch:
        found = compare(
            contest.task.evaluate,
            sweep.arms(lambda strength: partial(contest.task.train, baseline.at(strength))),
            seeds=sweep.seeds,
            figure="reward",
            workers=contest.workers,
            out=out,
            executor=contest.executor,
            seed=contest.seed,
            timeout=contest.timeout,
            floor=contest.task.floor,
            task=contest.task.name,
            on_event=watch,
        )
    if not found.finished:
        raise _StoppedError
    tuned = sweep.read(found)
    console.print(str(tuned), soft_wrap=True)
    return tuned


def _searched(contest: Contest, trials: int, console: Console) -> RandomSearch:
    """Return the best of as many random policies, confirmed as a search of the task confirms its own."""
    task, budget = contest.task, contest.task.budget
    with Watch(console, f"Searching {trials} random policies") as watch:
        study = search(
            task.evaluate,
            task.space(),
            trials=trials,
            searcher="random",
            workers=contest.workers,
            out=contest.out / "random",
            seed=contest.seed,
            executor=contest.executor,
            timeout=contest.timeout,
            floor=task.floor,
            confirm=Confirmation(top=budget.confirm_top, seeds=budget.confirm_seeds),
            task=task.name,
            on_event=watch,
        )
    if not study.finished:
        raise _StoppedError
    best = study.best
    if best is None:
        raise StudyError(f"no random policy returned a finite reward; see {study.out / 'logs'}")
    return RandomSearch(trials=trials, confirmations=len(study.trials) - trials, policy=best.policy)


def _compared(contest: Contest, arms: dict[str, Arm], console: Console) -> Comparison:
    title = f"Comparing {len(arms) + 1} arms on {contest.seeds} seeds each in {contest.out}"
    with Watch(console, title, "comparing") as watch:
        found = compare(
            contest.task.evaluate,
            {**arms, POLICY: contest.policy},
            seeds=contest.seeds,
            baselines=[name for name in arms if name != RANDOM],
            workers=contest.workers,
            out=contest.out,
            executor=contest.executor,
            seed=contest.seed,
            timeout=contest.timeout,
            floor=contest.task.floor,
            task=contest.task.name,
            on_event=watch,
        )
    if not found.finished:
        raise _StoppedError
    return found
