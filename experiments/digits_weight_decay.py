"""The second table "digits" of docs/results.md: the policy that was found beside weight decay.

    python experiments/digits_weight_decay.py

80 trainings of two seconds each. It may be stopped at any moment; the same command goes on.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from autodropout.comparison import Comparison, compare
from autodropout.engine.provenance import command, machine, versions
from autodropout.policy import Policy
from autodropout.tasks.images.digits import Digits

RESULTS = Path(__file__).parents[1] / "results" / "digits"
OUT = Path("runs/digits-weight-decay")
WEIGHT_DECAY = 0.03


def run(policy: Policy, out: Path, *, seeds: int = 20, workers: int = 2) -> Comparison:
    """Compare nothing, the policy, weight decay, and both; weight decay is the baseline named beforehand.

    Args:
        policy: The policy that a search found.
        out: Directory of the comparison.
        seeds: Paired seeds.
        workers: Processes.
    """
    plain, decayed = Digits(), Digits(weight_decay=WEIGHT_DECAY)
    name = f"weight decay {WEIGHT_DECAY}"
    arms = {
        "none": None,
        "policy": policy,
        name: partial(decayed.evaluate, Policy({})),
        f"policy and {name}": partial(decayed.evaluate, policy),
    }
    return compare(
        plain.evaluate, arms, seeds=seeds, baselines=[name], workers=workers, out=out, task="digits"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the comparison")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    given = parser.parse_args()
    try:
        comparison = run(Policy.load(RESULTS / "best.json"), given.out, workers=given.workers)
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    if not comparison.finished:
        sys.exit("Stopped on request. The same command goes on.")
    print(comparison)
    origin = {"command": command(), "versions": versions(), "machine": machine()}
    document = origin | {"comparison": json.loads(comparison.to_json())}
    (RESULTS / "weight_decay.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf8")
    (RESULTS / "weight_decay.md").write_text(comparison.to_markdown(), encoding="utf8")
