"""``autodropout compare TASK --policy P``."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from autodropout.cli.command import Command, devices_named, loaded_policy
from autodropout.cli.directory import check_place, claimed
from autodropout.cli.moving import FoundOn, moved
from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.suggesting import suggested

if TYPE_CHECKING:
    from autodropout.cli.contest import Contest
    from autodropout.tasks.base import Task

_NEVER_REPEATED = ("debug", "json", "task", "out")


@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Compare a policy with tuned baselines on held-out test data.

    First each baseline's strength is tuned on validation data. Then every arm is trained on the same fresh
    seeds, which neither the search nor the tuning has seen, and the held-out test figures are compared in
    pairs. The table and what may be concluded from it are printed and saved as comparison.json, .md and
    .tex. Ctrl-C stops cleanly at any moment; the same command with the same directory goes on.

    The policy may come from another task of the same family, named by --found-on, and is then scaled for the
    images and matched block by block, as train does. Without it the policy is taken as it stands.

    For example:
      autodropout compare digits --policy runs/digits/best.json
      autodropout compare digits --policy mine.json --baselines none,dropout --seeds 20
      autodropout compare digits --policy runs/digits/best.json --random-trials 48
      autodropout compare digits --policy runs/digits/best.json --combined adaptive-dropout
      autodropout compare imagenet-efficientnet-b7 --policy b0.json --found-on imagenet-efficientnet-b0

    Attributes:
        task: Name of the task; autodropout tasks lists them.
        policy: The policy's JSON file, or its name in the zoo.
        found_on: Task that the policy was found on, where it is another.
        data: Folder of data sets, for a task that reads files; tasks says which.
        baselines: What to compare it with: none, or the task's own, such as dropout.
        combined: Baselines that are also put on top of the policy, such as augmented-dropout, which acts on
            what a layer reads, or adaptive-dropout: each is tuned there and is an arm policy+NAME. The word
            none asks for no such arm, where the paper's tables have one.
        tune_trials: Trials that tune each baseline, spread over its strengths on two seeds or more. As many
            as the policy's search had are a fair match: two seeds may well choose a wrong strength.
        random_trials: Also search this many random policies, confirm the best, and compare what is found:
            as many as the policy's search had make it an arm of equal budget.
        seeds: Seeds that every arm is trained on.
        workers: Processes, each with one thread: as many as you have cores.
        executor: Where trials run: in worker processes, or one by one in this process, to debug.
        devices: GPUs dealt out to the workers in turn, with commas between them, such as 0,1.
        out: Directory of the comparison; one that holds this comparison already is gone on with.
        seed: Seed that all seeds follow from.
        timeout: Seconds after which a trial is killed; it is run once more, and then it has failed.
        json: Print JSON for a machine; progress goes to the error stream.
    """

    task: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TASK")]
    policy: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    found_on: FoundOn = None
    data: Annotated[
        Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="(default: $AUTODROPOUT_DATA, or data)")
    ] = None
    baselines: Annotated[
        str | None, tyro.conf.arg(metavar="NAME,NAME", help_behavior_hint="(default: all of them)")
    ] = None
    combined: Annotated[
        str | None,
        tyro.conf.arg(
            metavar="NAME,NAME", help_behavior_hint="(default: what the paper's tables have, or none)"
        ),
    ] = None
    tune_trials: int = 16
    random_trials: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: no such arm)")] = None
    seeds: int = 10
    workers: int = 2
    executor: Literal["local", "inline"] = "local"
    devices: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: all are visible)")] = None
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            metavar="DIR",
            help_behavior_hint="(default: compare, in the policy's search on this task; else a new one)",
        ),
    ] = None
    seed: int = 0
    timeout: Annotated[float | None, tyro.conf.arg(help_behavior_hint="(default: never)")] = None
    json: bool = False

    def run(self) -> None:
        """Compare, and say what that shows."""
        policy = loaded_policy(self.policy)
        from autodropout.cli.contest import hold
        from autodropout.tasks.registry import task_named

        task = task_named(self.task, self.data)
        policy = moved(policy, self.found_on, task)
        with self._directory(policy) as out:
            hold(self._contest(task, policy, out), json=self.json)

    def _contest(self, task: "Task", policy: Policy, out: Path) -> "Contest":
        from autodropout.cli.contest import NONE, Contest

        known = (NONE, *(baseline.name for baseline in task.baselines))
        return Contest(
            task=task,
            policy=policy,
            baselines=known if self.baselines is None else _names(self.baselines, known),
            combined=_on_policy(self.combined, task.name, known),
            tune_trials=self.tune_trials,
            random_trials=self.random_trials,
            seeds=self.seeds,
            workers=self.workers,
            executor=self.executor,
            devices=devices_named(self.devices),
            out=out,
            seed=self.seed,
            timeout=self.timeout,
            words=self._words(out),
        )

    def _directory(self, policy: Policy) -> AbstractContextManager[Path]:
        from autodropout.engine.ledger_schema import LEDGER_FILE

        if self.out is not None:
            check_place(self.out)
            return nullcontext(self.out)
        # A search of another task keeps the comparison of its own.
        if self.found_on in (None, self.task) and (self.policy.parent / LEDGER_FILE).is_file():
            return nullcontext(_beside(self.policy.parent, policy))
        return claimed(f"{self.task}-compare")

    def _words(self, out: Path) -> tuple[str, ...]:
        """Return the arguments that go on with this comparison."""
        words = ["compare", self.task]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in _NEVER_REPEATED and (field.default is MISSING or value != field.default):
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        return (*words, "--out", str(out))


def _beside(search: Path, policy: Policy) -> Path:
    """Return a directory in that of a search which no comparison of another policy has."""
    from autodropout.cli.account import POLICY
    from autodropout.comparison.kept import COMPARISON, kept

    out = search / COMPARISON
    try:
        there = kept(out)
    except UsageError:  # a search has been put there
        return search / f"{COMPARISON}-{policy.key}"
    same = there is None or there.arms.get(POLICY) == policy
    return out if same else search / f"{COMPARISON}-{policy.key}"


def _on_policy(asked: str | None, task: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the baselines that are also put on top of the policy."""
    from autodropout.cli.contest import NONE
    from autodropout.comparison.quotations import combined_in

    if asked is None:
        return combined_in(task)
    names = _names(asked, known)
    if NONE in names and len(names) > 1:
        raise UsageError(
            f"combined is {asked!r}, and {NONE} asks for nothing on top of the policy; leave out {NONE} or "
            "the others"
        )
    return () if names == (NONE,) else names


def _names(asked: str, known: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in asked.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"there is no baseline {unknown[0]!r}" if unknown else "no baseline is named"
        remedy = suggested(unknown[0] if unknown else "", known, f"choose from {', '.join(known)}")
        raise UsageError(f"{what}; {remedy}")
    return names
