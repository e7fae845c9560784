"""``autodropout benchmark searchers``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from autodropout.cli.command import Command
from autodropout.errors import UsageError

if TYPE_CHECKING:
    from autodropout.benchmark.plan import Plan

_SEARCHERS = "random,random-biased,knobs,evolution,categorical,reinforce,reinforce-paper,tpe:repetitions=20"


@dataclass(frozen=True, kw_only=True)
class Benchmark(Command):
    """Compare searchers on a landscape of released trials, without training anything.

    Each search asks the real searcher; its rewards are those that a surrogate, fitted to the released
    trials, expects, with the noise of the task's seeds. At every number of trials the best policies are run
    again on fresh seeds, as a real search ends, and what counts is the noise-free reward of the policy that
    a user would then have. Means and 95% intervals are over repetitions. With 200 of them that takes a
    quarter to half an hour of two cores.

    For example:
      autodropout benchmark searchers
      autodropout benchmark searchers ptb-small --searchers evolution,reinforce --repetitions 40
      autodropout benchmark searchers --searchers reinforce:learning_rate=0.01:batch=8,reinforce:capacity=16

    Attributes:
        what: What to compare.
        name: Name of the landscape, such as mnist-small, or the file of one of your own.
        searchers: Who searches, of reinforce, reinforce-paper, categorical, random, random-biased, evolution,
            tpe and knobs; a setting of a searcher follows it as :setting=value, and so do its own
            capacity, number of repetitions and common_seed. random is always there.
        trials: Trials of a search.
        repetitions: Searches per searcher and number of trials.
        capacity: Trials under way at a time; 3 is what two workers have.
        confirm_top: Best policies that are run again at the end of a search; 0 for none.
        confirm_seeds: Fresh seeds for each of them.
        common_seed: All trials of a search have the same seed.
        workers: Processes, each with one thread: as many as you have cores.
        seed: Seed that all seeds follow from.
        out: File to write the JSON to; the table goes beside it, as Markdown. With it the command may be
            stopped, and the same one goes on: each searcher that is done is kept beside the file until then.
        json: Print JSON for a machine; progress goes to the error stream.
    """

    what: tyro.conf.Positional[Literal["searchers"]]
    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")] = "ptb-small"
    searchers: Annotated[str, tyro.conf.arg(metavar="NAME,NAME")] = _SEARCHERS
    trials: Annotated[str, tyro.conf.arg(metavar="N,N")] = "64,128,256,512"
    repetitions: int = 200
    capacity: int = 3
    confirm_top: int = 8
    confirm_seeds: int = 4
    common_seed: bool = False
    workers: int = 2
    seed: int = 0
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: none)")] = None
    json: bool = False

    def run(self) -> None:
        """Compare, and say what that shows."""
        from autodropout.benchmark.landscapes import load
        from autodropout.cli.standing import hold

        if self.out is not None:
            _check_file(self.out)
        hold(load(self.name), self._plan(), workers=self.workers, out=self.out, json=self.json)

    def _plan(self) -> "Plan":
        from autodropout.benchmark.plan import Plan
        from autodropout.benchmark.variants import Variant
        from autodropout.engine.confirm import Confirmation

        return Plan(
            variants=[Variant.parse(text) for text in self.searchers.split(",") if text.strip()],
            budgets=_numbers(self.trials),
            repetitions=self.repetitions,
            capacity=self.capacity,
            confirm=Confirmation(top=self.confirm_top, seeds=self.confirm_seeds),
            seed=self.seed,
            common_seed=self.common_seed,
        )


def _check_file(out: Path) -> None:
    """Refuse before minutes of work what could not be written after them."""
    from autodropout.cli.standing import UNFINISHED

    taken = {".md": "the table would go", UNFINISHED: "searchers that are done would be kept"}
    if out.suffix in taken:
        json = out.with_suffix(".json")
        raise UsageError(f"{out} is where {taken[out.suffix]}; name the file of the JSON, such as {json}")
    if out.is_dir():
        raise UsageError(f"{out} is a directory; expected the name of a file")
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent} is no directory; make it, or name another file")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError as error:
        raise UsageError(f"trials are {text!r}; expected whole numbers, as in 64,128,256,512") from error
