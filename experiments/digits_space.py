"""What the standard ConvSpace and its starting bias are worth on digits: policies by chance, trained once.

    python experiments/digits_space.py

Each arm draws a policy by the seed, from a space that differs from the standard one in one respect, and
trains it with that seed; the standard space under its starting bias is what the others are measured against,
paired by seed, on validation accuracy, which is what a search sees. Writes results/digits/space.json and
space.md. About 290 trainings of two seconds of one core; it may be stopped at any moment, and the same
command goes on.
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autodropout.atomic import write_text
from autodropout.comparison import Comparison, compare
from autodropout.comparison.arms import Arm
from autodropout.engine.options import ExecutorName
from autodropout.engine.provenance import command, machine, versions
from autodropout.errors import AutoDropoutError
from autodropout.result import Result
from autodropout.tasks.images.digits import Digits

RESULTS = Path(__file__).parents[1] / "results" / "digits"
OUT = Path("runs/digits-space")
STANDARD = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Trains the policy that a seed draws.

    Attributes:
        task: The task.
        change: What differs from its space.
        biased: Whether the draw is from the starting bias; otherwise it is uniform over the values.
    """

    task: Digits = field(default_factory=Digits)
    change: Mapping[str, Any] = field(default_factory=dict)
    biased: bool = True

    def __call__(self, seed: int) -> Result:
        """Train with the policy of this seed."""
        space = replace(self.task.space(), **self.change)
        policy = space.decode(space.sample(random.Random(seed), biased=self.biased))
        return self.task.evaluate(policy, seed)


ARMS: Mapping[str, Drawn] = {
    STANDARD: Drawn(),
    "uniform": Drawn(biased=False),
    "off .25": Drawn(change={"off": 0.25}),
    "off .15": Drawn(change={"off": 0.15}),
    "upright": Drawn(change={"rotates": (0.0,), "shears": (0.0,)}),
    "strides .5, 1": Drawn(change={"strides": (0.5, 1.0)}),
    "no residual": Drawn(change={"residual": ()}),
    "units and channels": Drawn(change={"sizes": ("pixel",), "repeats": ("fill",)}),
}
"""Ways to draw, by name."""


def run(
    out: Path,
    *,
    task: Digits | None = None,
    seeds: int = 32,
    workers: int = 2,
    executor: ExecutorName = "local",
) -> Comparison:
    """Train what is left and measure every way of drawing against the standard one.

    Args:
        out: Directory of the comparison.
        task: The task, if it is not digits as it is.
        seeds: Policies of each arm.
        workers: Processes.
        executor: ``"local"`` for processes, ``"inline"`` for this one.
    """
    task = task or Digits()
    changes = {name: dict(arm.change) | {"biased": arm.biased} for name, arm in ARMS.items()}
    arms: dict[str, Arm] = {"none": None} | {name: replace(arm, task=task) for name, arm in ARMS.items()}
    return compare(
        task.evaluate,
        arms,
        seeds=seeds,
        baselines=[STANDARD],
        figure="reward",
        workers=workers,
        executor=executor,
        out=out,
        floor=task.floor,
        task=f"{task.key}, policies drawn from {changes}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=32, help="policies of each arm")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the comparison")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory of the figures")
    given = parser.parse_args()
    try:
        found = run(given.out, seeds=given.seeds, workers=given.workers)
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    if not found.finished:
        sys.exit("Stopped on request. The same command goes on.")
    print(found)
    origin = {"schema": 1, "command": command(), "versions": versions(), "machine": machine()}
    document = origin | {"comparison": json.loads(found.to_json())}
    given.results.mkdir(parents=True, exist_ok=True)
    write_text(given.results / "space.json", json.dumps(document, indent=2) + "\n")
    write_text(given.results / "space.md", found.to_markdown())
