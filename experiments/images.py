"""The rows "cifar10-small" and "mnist-small" of docs/image_tasks.md: a search, then its policy against all.

    python experiments/images.py [--tasks cifar10-small,mnist-small] [--seeds 10] [--trials 128]

For each task: a search of 128 trials with its confirmation (32 trainings), which is the first by REINFORCE of
the task's landscape (landscape.py), then a comparison of its policy, alone and with RandAugment, with every
tuned baseline and with the best of as many random policies, some 800 trainings together. One of cifar10-small
takes about twelve seconds of one core, of mnist-small seven. It may be stopped at any moment; the same
command goes on. What is found goes to results/TASK/, the search to results/TASK/studies/reinforce-1.

    python experiments/images.py --where runs/images/cifar10-small/best.json

instead trains that policy at other places (the paper's ablation), and random policies once behind norms and
once behind convolutions, where the paper found training unstable, and counts those that diverge:
results/TASK/where.json.
"""

import argparse
import json
import math
import random
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import landscape
from autodropout.applying import apply
from autodropout.cli import main
from autodropout.comparison import Comparison, compare
from autodropout.engine.provenance import command as command_line
from autodropout.engine.provenance import machine, versions
from autodropout.errors import AutoDropoutError, DataError, StudyError, UsageError
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.tasks.images.relocation import BehindConvolutions, relocated
from autodropout.tasks.images.task import ImageTask
from autodropout.tasks.registry import task_named
from comparing import STOPPED
from landscape_parts import MAP_PARTS

RESULTS = Path(__file__).parents[1] / "results"
OUT = Path("runs/images")
TASKS = ("cifar10-small", "mnist-small")
FILES = ("best.json", "compare/comparison.json", "compare/comparison.md")
COMBINED = "rand-augment"
"""What is also put on top of the policy, as in the paper's Table 2."""

SEARCH = next(part for part in MAP_PARTS if part.name == "reinforce-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much to spend.

    Attributes:
        trials: Of the search, and of the random search beside it.
        seeds: Of the comparison.
        workers: Processes, one thread each.
        data: Folder of data sets; None for the environment's.
        executor: Where trials run, but those of the comparison: in processes, or one by one in this one.
    """

    trials: int = 128
    seeds: int = 10
    workers: int = 2
    data: str | None = None
    executor: Literal["local", "inline"] = "local"


def searched(name: str, out: Path, size: Size, results: Path) -> None:
    """Run what is left of a task's search and save its policy as best.json.

    Args:
        name: The task's.
        out: Directory of the policy.
        size: How much to spend.
        results: Directory of the committed figures, where the search is kept.

    Raises:
        DataError: The task's data are missing.
        KeyboardInterrupt: Somebody asked it to stop.
        StudyError: No trial returned a finite reward.
    """
    task = task_named(name, None if size.data is None else Path(size.data))
    if missing := task.missing():
        raise DataError(missing)
    how = landscape.How(workers=size.workers, executor=size.executor)
    part = replace(SEARCH, trials=size.trials)
    study = landscape.conducted(task, results / name / landscape.STUDIES, how, part)
    if not study.finished:
        raise KeyboardInterrupt
    if study.best is None:
        raise StudyError(f"no trial returned a finite reward; see {study.out / 'logs'}")
    out.mkdir(parents=True, exist_ok=True)
    study.best.policy.save(out / "best.json")


def comparison(task: str, out: Path, size: Size) -> list[str]:
    """Return the arguments of a task's comparison; its random arm has as many trials as the search."""
    data = [] if size.data is None else ["--data", size.data]
    compared = ["compare", task, "--policy", str(out / "best.json"), "--seeds", str(size.seeds)]
    manner = ["--random-trials", str(size.trials), "--workers", str(size.workers)]
    return [*compared, "--combined", COMBINED, *manner, *data, "--out", str(out / "compare")]


def run(
    tasks: Sequence[str],
    out: Path,
    size: Size,
    results: Path,
    find: Callable[[str, Path, Size, Path], None] = searched,
    command: Callable[[Sequence[str]], int] = main,
) -> int:
    """Search and compare, copy what was found, and return the exit code of the first that failed, or 0.

    Args:
        tasks: Names.
        out: Directory of the policies and comparisons, a subdirectory for each task.
        size: How much to spend.
        results: Directory of the committed figures.
        find: Runs a search.
        command: Runs a command line.
    """
    for task in tasks:
        find(task, out / task, size, results)
        if code := command(comparison(task, out / task, size)):
            return code
        if not all((out / task / name).is_file() for name in FILES):
            return STOPPED
        (results / task).mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(out / task / name, results / task / Path(name).name)
    return 0


def elsewhere(task: ImageTask, policy: Policy, out: Path, size: Size) -> Comparison:
    """Compare the policy with none and with its patterns at other sites, on the same seeds."""
    model = task.model()
    moved = relocated(policy, model, task.space().sites)
    arms: dict[str, Policy | None] = {"none": None, "found": policy, **moved}
    return compare(
        task.evaluate,
        arms,
        seeds=size.seeds,
        baselines=["found"],
        workers=size.workers,
        executor=size.executor,
        out=out / "relocated",
        floor=task.floor,
        task=task.key,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """Trains a random policy behind norms or behind convolutions.

    Attributes:
        task: The task.
        behind: ``"norms"`` or ``"convolutions"``.
    """

    task: ImageTask
    behind: str

    def __call__(self, seed: int) -> Result:
        """Train the policy that this seed draws; whether it diverged is a test figure, 1 or 0."""
        space = self.task.space()
        policy = space.decode(space.sample(random.Random(seed)))
        prepare = (
            BehindConvolutions(policy) if self.behind == "convolutions" else partial(apply, policy=policy)
        )
        result = self.task.train(prepare, seed)
        diverged = not math.isfinite(result.reward)
        reward = self.task.floor if diverged else result.reward
        return Result(
            reward=reward, metrics=result.metrics, test={"diverged": float(diverged), "reward": reward}
        )


def divergence(task: ImageTask, out: Path, size: Size) -> Comparison:
    """Train the same random policies at both places; as many as the search has trials."""
    arms = {behind: Random(task=task, behind=behind) for behind in ("norms", "convolutions")}
    return compare(
        task.evaluate,
        arms,
        seeds=size.trials,
        baselines=["norms"],
        figure="diverged",
        higher_is_better=False,
        workers=size.workers,
        executor=size.executor,
        out=out / "diverged",
        floor=1.0,
        task=task.key,
    )


def _finished(comparison: Comparison) -> Comparison:
    if not comparison.finished:
        raise KeyboardInterrupt
    return comparison


def where(task: ImageTask, policy: Policy, out: Path, size: Size) -> Mapping[str, object]:
    """Return both comparisons, with what made them.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    moved = _finished(elsewhere(task, policy, out, size))
    diverged = _finished(divergence(task, out, size))
    print(moved, diverged, sep="\n\n")
    origin = {"command": command_line(), "versions": versions(), "machine": machine(), "size": asdict(size)}
    found = {"relocated": json.loads(moved.to_json()), "diverged": json.loads(diverged.to_json())}
    return origin | found


def started(given: argparse.Namespace) -> int:
    """Do what the command line asks for."""
    data = None if given.data is None else str(Path(given.data).absolute())
    size = Size(trials=given.trials, seeds=given.seeds, workers=given.workers, data=data)
    names = given.tasks.split(",")
    if given.where is None:
        return run(names, given.out, size, given.results)
    task = task_named(names[0], None if data is None else Path(data))
    if not isinstance(task, ImageTask):
        raise UsageError(f"{task.name} is no task on images; patterns can be moved elsewhere on such only")
    document = where(task, Policy.load(given.where), given.out / names[0] / "where", size)
    place = given.results / names[0]
    place.mkdir(parents=True, exist_ok=True)
    (place / "where.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf8")
    return 0


def arguments() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="names, with commas between")
    parser.add_argument(
        "--trials",
        type=int,
        default=128,
        help="policies of each search; for another number name other --results",
    )
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each comparison")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the policies and comparisons")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the figures")
    # What the environment says goes without saying: it would stand in the figures as a path of one machine.
    parser.add_argument("--data", help="folder of data sets (default: $AUTODROPOUT_DATA)")
    parser.add_argument("--where", type=Path, help="a policy: train it elsewhere, on the first task")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(started(arguments().parse_args()))
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
