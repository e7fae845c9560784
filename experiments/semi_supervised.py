"""Table 3 in small: the policy found on cifar10-small, in training with 1,000 labels and 12,000 images (UDA).

    python experiments/semi_supervised.py --policy runs/cifar10-small/best.json --data DATA [--seeds 5]

The policy is searched first: autodropout search cifar10-small --out runs/cifar10-small. No second search is
made for UDA, as the paper makes none on ImageNet. Four arms on the same seeds: UDA without and with the
policy, and the same labels alone without and with it. DATA holds cifar10-small.npz, or all of CIFAR-10;
without --data it is what AUTODROPOUT_DATA says. It may be stopped at any moment; the same command goes on,
also with more seeds. What was found is copied to results/cifar10-small-uda.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from autodropout.atomic import write_text
from autodropout.cli.watching import Watch
from autodropout.comparison import Comparison, compare
from autodropout.data.files import VARIABLE
from autodropout.engine.options import ExecutorName
from autodropout.engine.provenance import command, machine, versions
from autodropout.errors import AutoDropoutError, DataError
from autodropout.policy import Policy
from autodropout.tasks.images.task import ImageTask
from autodropout.tasks.registry import TASKS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "cifar10-small-uda"
OUT = Path("runs/cifar10-small-uda")
UDA, LABELS = "cifar10-small-uda", "cifar10-small"
EMPTY = Policy({})


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How to run.

    Attributes:
        seeds: On how many seeds every arm is trained.
        workers: Processes, one thread each.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """

    seeds: int = 5
    workers: int = 2
    executor: ExecutorName = "local"


def run(uda: ImageTask, labels: ImageTask, policy: Policy, out: Path, how: How) -> Comparison:
    """Train what is left of all arms and return what they show.

    Args:
        uda: The task with few labels.
        labels: Training on these labels alone.
        policy: What was found on the latter.
        out: Directory of the comparison.
        how: How to run.

    Raises:
        DataError: The data are missing.
        UsageError: The directory holds another comparison.
    """
    if missing := uda.missing() or labels.missing():
        raise DataError(missing)
    arms = {
        "UDA": EMPTY,
        "UDA+policy": policy,
        "labels alone": partial(labels.evaluate, EMPTY),
        "labels alone+policy": partial(labels.evaluate, policy),
    }
    with Watch(Console(highlight=False), f"{uda.name}: {len(arms)} arms in {out}", "comparing") as watch:
        return compare(
            uda.evaluate,
            arms,
            seeds=how.seeds,
            baselines=["UDA"],
            workers=how.workers,
            executor=how.executor,
            out=out,
            floor=uda.floor,
            task=uda.key,
            on_event=watch,
        )


def keep(found: Comparison, policy: Policy, results: Path) -> None:
    """Write the table, all single runs, the policy and the machine into a directory.

    Args:
        found: What the arms show.
        policy: What was applied.
        results: The directory.
    """
    plain = {
        "command": command(),
        "versions": versions(),
        "machine": machine(),
        "policy": json.loads(policy.to_json()),
        "comparison": json.loads(found.to_json()),
    }
    results.mkdir(parents=True, exist_ok=True)
    write_text(results / "comparison.json", json.dumps(plain, indent=2) + "\n")
    write_text(results / "comparison.md", found.to_markdown())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--policy", type=Path, required=True, help="found by a search of cifar10-small")
    parser.add_argument("--data", default=os.environ.get(VARIABLE), help="folder of data sets")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the runs")
    given = parser.parse_args()
    folder = None if given.data is None else str(Path(given.data).absolute())
    tasks = [replace(TASKS[name], data=folder) for name in (UDA, LABELS)]
    try:
        policy = Policy.load(given.policy)
        found = run(*tasks, policy, given.out, How(seeds=given.seeds, workers=given.workers))
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    print(found)
    if not found.finished:
        sys.exit("Stopped on request. The same command goes on.")
    keep(found, policy, RESULTS)
