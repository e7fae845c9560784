"""REINFORCE's settings varied one at a time on a released landscape.

    python experiments/calibrate.py ptb-small --axes advantage batch capacity

Writes results/NAME/calibration.json and calibration.md. What the JSON holds already, made on the same
landscape in the same way, is not run again: so a run may be stopped at any moment, and the same command goes
on. A setting costs about a minute of one core with 30 repetitions.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autodropout.atomic import write_text
from autodropout.benchmark.account import ALIKE, check_alike, document
from autodropout.benchmark.landscapes import Benchmark, load
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.racing import race
from autodropout.benchmark.standings import standings
from autodropout.benchmark.variants import Variant
from autodropout.errors import AutoDropoutError, UsageError

RESULTS = Path(__file__).parents[1] / "results"

AXES: Mapping[str, tuple[str, ...]] = {
    "searcher": ("reinforce", "reinforce-paper", "categorical", "evolution", "random-biased", "knobs"),
    "batch": tuple(f"reinforce:batch={m}" for m in (4, 8, 16, 32)),
    "advantage": tuple(f"reinforce:advantage={mode}" for mode in ("ema", "standardised")),
    "decay": tuple(f"reinforce:advantage=ema:decay={decay}" for decay in (0.9, 0.95)),
    "network": (
        "reinforce:width=16",
        "reinforce:width=64",
        "reinforce:layers=2",
        "reinforce:layers=2:width=64:heads=4",
    ),
    "learning_rate": tuple(f"reinforce:learning_rate={rate}" for rate in (0.0005, 0.001, 0.0035, 0.01, 0.03)),
    "bias_learning_rate": tuple(
        f"reinforce:bias_learning_rate={rate}" for rate in (0.05, 0.1, 0.2, 0.3, 0.6)
    ),
    "start": ("reinforce:bias=false", "reinforce:prior=false", "reinforce:prior=false:bias=false"),
    "entropy": tuple(f"reinforce:entropy={weight}" for weight in (0, 0.01, 0.1)),
    "truncation": tuple(f"reinforce:bound={bound}:capacity=16" for bound in (1, 5, 20, "null")),
    "capacity": tuple(f"reinforce:capacity={capacity}" for capacity in (1, 8, 16, 32)),
    "common_seed": tuple(
        f"{searcher}:common_seed=true" for searcher in ("random", "random-biased", "reinforce", "evolution")
    ),
    "evolution": (
        "evolution:population=16:sample=4",
        "evolution:population=64:sample=16",
        "evolution:mutations=1",
        "evolution:mutations=3",
    ),
}
"""Variants by what they vary; the first axis has the settings that all others start from."""


def run(
    benchmark: Benchmark,
    axes: Iterable[str],
    *,
    plan: Plan,
    out: Path,
    workers: int = 2,
) -> list[Mapping[str, Any]]:
    """Run the variants that the file does not have yet, writing it after each; return all its rows.

    Args:
        benchmark: The landscape.
        axes: Which settings to vary.
        plan: How; its own variants do not matter.
        out: Directory of calibration.json and calibration.md.
        workers: Processes.

    Raises:
        UsageError: An axis is unknown, or the file was made otherwise.
    """
    wanted = [Variant.parse(words) for axis in axes for words in _axis(axis)]
    file = out / "calibration.json"
    kept = _kept(file, benchmark, plan)
    for variant in wanted:
        if variant.name in {row["variant"]["name"] for row in kept}:
            continue
        began = time.perf_counter()
        mine = replace(plan, variants=[variant])
        rows = standings(mine, race(benchmark, mine, workers=workers))
        facts = document(benchmark, mine, rows, seconds=time.perf_counter() - began)
        first, *others = facts.pop("searchers")
        seconds = facts.pop("seconds")
        kept = [*(kept or [first | {"seconds": None}]), *(row | {"seconds": seconds} for row in others)]
        out.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(facts | {"searchers": kept}, indent=1) + "\n")
        write_text(out / "calibration.md", table(benchmark, plan, kept))
    return kept


def table(benchmark: Benchmark, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as Markdown, axis by axis."""
    found = {row["variant"]["name"]: row for row in rows}
    named = {"reference": ("random",)} | {
        axis: tuple(Variant.parse(words).name for words in AXES[axis]) for axis in AXES
    }
    noise = benchmark.noise.pooled
    heading = [f"{trials} trials" for trials in plan.budgets]
    lines = [
        f"# Settings varied one at a time: {benchmark.name}\n",
        f"Noise-free reward, by a surrogate ({benchmark.release.regressor}) of {len(benchmark.trials)} "
        f"trials, of the policy that a search ends with; mean over {plan.repetitions} searches, half its 95% "
        f"interval. No dropout has {benchmark.none:.4f}, the deviation between seeds is {noise.sd:.4f}. "
        f"Less random: after {plan.budgets[-1]} trials, paired by repetition. Machine and versions are in "
        "calibration.json.\n",
        f"| varied | searcher | n | {' | '.join(heading)} | less random |",
        f"|---|---|---:|{'---:|' * (len(heading) + 1)}",
    ]
    for axis, names in named.items():
        lines += [f"| {axis} | {_cells(found[name])} |" for name in names if name in found]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> str:
    values = [standing["value"] for standing in row["standings"]]
    cells = [row["variant"]["name"], str(row["repetitions"])]
    cells += [f"{value['mean']:.4f} ±{value['high'] - value['mean']:.4f}" for value in values]
    against = row["standings"][-1]["difference"]
    cells.append(
        ""
        if against is None
        else f"{against['difference']:+.4f} ({against['low']:+.4f} to {against['high']:+.4f})"
    )
    return " | ".join(cells)


def _axis(axis: str) -> tuple[str, ...]:
    if axis not in AXES:
        raise UsageError(f"there is no axis {axis!r}; choose from {', '.join(AXES)}")
    return AXES[axis]


def _kept(file: Path, benchmark: Benchmark, plan: Plan) -> list[Mapping[str, Any]]:
    """Return the rows of an earlier run, which must have been made in the same way."""
    if not file.is_file():
        return []
    facts = json.loads(file.read_text(encoding="utf8"))
    check_alike(file, facts, document(benchmark, plan, (), seconds=0.0), ALIKE)
    return list(facts["searchers"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", nargs="?", default="ptb-small", help="name of the landscape, or its file")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="settings to vary")
    parser.add_argument("--repetitions", type=int, default=30, help="searches per variant and budget")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, help="directory of the results")
    given = parser.parse_args()
    try:
        benchmark = load(given.name)
        run(
            benchmark,
            given.axes,
            plan=Plan(variants=(), repetitions=given.repetitions),
            out=given.out or RESULTS / benchmark.name,
            workers=given.workers,
        )
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; what was finished is kept. The same command goes on.")
