"""The rows "digits" of docs/results.md: a search, then its policy against all tuned baselines.

    python experiments/digits.py

About 330 trainings of two seconds each. It may be stopped at any moment; the same command goes on.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from autodropout.cli import main

RESULTS = Path(__file__).parents[1] / "results" / "digits"
OUT = Path("runs/digits-evidence")
FILES = ("best.json", "compare/comparison.json", "compare/comparison.md")


def commands(out: Path, workers: int) -> tuple[list[str], list[str]]:
    """Return the arguments of both commands; the random arm has as many trials as the search."""
    search = ["search", "digits", "--out", str(out)]
    compare = ["compare", "digits", "--policy", str(out / "best.json"), "--seeds", "20"]
    compare += ["--random-trials", "48"]
    return [*search, "--workers", str(workers)], [*compare, "--workers", str(workers)]


def run(out: Path, workers: int, results: Path, command: Callable[[Sequence[str]], int] = main) -> int:
    """Run both commands, copy what they found, and return the exit code.

    Args:
        out: Directory of the search.
        workers: Processes.
        results: Directory of the committed figures.
        command: Runs a command line.
    """
    for arguments in commands(out, workers):
        if code := command(arguments):
            return code
    results.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(out / name, results / Path(name).name)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="directory of the search")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    given = parser.parse_args()
    sys.exit(run(given.out, given.workers, RESULTS))
