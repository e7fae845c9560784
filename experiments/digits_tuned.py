"""The third table "digits" of docs/results.md: the known methods tuned on as many trainings as a search has.

    python experiments/digits_tuned.py

Each known method is tried at eight strengths on eight validation seeds, 64 trainings where a search has 60.
Its best strength and the two policies that experiments/digits.py found are then trained on the same 40 fresh
seeds, which none of them has seen. 536 trainings of three seconds of one core; it may be stopped at any
moment, and the same command goes on. Writes tuned.json and tuned.md into results/digits.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from autodropout.atomic import write_text
from autodropout.comparison import Comparison
from autodropout.comparison.tuning import Tuned
from autodropout.policy import Policy
from autodropout.tasks.base import Task
from autodropout.tasks.images.digits import Digits
from comparing import Answer, answers, provenance, table
from confirmed import How, arm_of, tuned, tuning, without_search
from repeated import trained_alike

RESULTS = Path(__file__).parents[1] / "results" / "digits"
OUT = Path("runs/digits-tuned")
METHODS = ("dropout", "spatial-dropout", "dropblock", "stochastic-depth")
TUNED_ON, SEEDS = 8, 40
NONE, RANDOM, POLICY = "none", "random", "policy"


def found() -> dict[str, Policy]:
    """Return what chance and REINFORCE found in experiments/digits.py."""
    facts = json.loads((RESULTS / "comparison.json").read_text(encoding="utf8"))
    random = Policy.from_json(json.dumps(facts["random"]["policy"]))
    return {RANDOM: random, POLICY: Policy.load(RESULTS / "best.json")}


def run(
    task: Task, policies: dict[str, Policy], out: Path, how: How, tuned_on: int = TUNED_ON
) -> tuple[Comparison, list[Tuned]]:
    """Tune the methods that experiments/digits.py had tuned on two seeds, then compare all.

    Args:
        task: What is trained.
        policies: What was found, by arm.
        out: Directory of the comparisons.
        how: How to run.
        tuned_on: Validation seeds of every strength.

    Raises:
        KeyboardInterrupt: Somebody asked it to stop.
    """
    methods = [baseline for baseline in task.baselines if baseline.name in METHODS]
    best = [tuned(task, one, out / "tune" / one.name, how, tuned_on) for one in methods]
    arms = without_search(task, best)
    comparison = trained_alike(task, arms | policies, list(arms), out / "compare", how)
    return comparison, best


def pairs(comparison: Comparison, best: Sequence[Tuned]) -> list[Answer]:
    """Answer three questions: how all stand to no dropout, policies to methods, and learning to chance."""
    methods = [arm_of(one) for one in best]
    none = [(name, NONE) for name in (*methods, RANDOM, POLICY)]
    beside = [(name, method) for name in (RANDOM, POLICY) for method in methods]
    return answers(comparison, [none, beside, [(POLICY, RANDOM)]])


def written(comparison: Comparison, best: Sequence[Tuned]) -> tuple[str, str]:
    """Return tuned.json and tuned.md."""
    rows = pairs(comparison, best)
    document = provenance() | {
        "tuning": tuning(best),
        "pairs": [asdict(row) for row in rows],
        "comparison": json.loads(comparison.to_json()),
    }
    lines = [
        "# The known methods tuned on as many trainings as a search has",
        "",
        "`python experiments/digits_tuned.py`",
        "",
        comparison.to_markdown(),
        "## Pairs",
        "",
        table(comparison.figure, rows, len(comparison.seeds)),
        "## Tuning",
        "",
        *(f"- {one}." for one in best),
    ]
    return json.dumps(document, indent=1, allow_nan=False) + "\n", "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the comparisons")
    parser.add_argument("--workers", type=int, default=How().workers, help="processes, one thread each")
    given = parser.parse_args()
    try:
        comparison, best = run(Digits(), found(), given.out, How(seeds=SEEDS, workers=given.workers))
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    plain, readable = written(comparison, best)
    write_text(RESULTS / "tuned.json", plain)
    write_text(RESULTS / "tuned.md", readable)
    print(comparison)
