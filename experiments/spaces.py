"""What the values of a landscape's space and its starting bias are worth, by searches of narrower ones.

    python experiments/spaces.py ptb-small

The same searchers, with the same seeds, search the landscape's space and spaces that differ from it in one
respect: the starting bias, or fewer values of a choice. Writes results/NAME/spaces.json and spaces.md, after
each space, and leaves out what the JSON holds already: so it may be stopped at any moment, and the same
command goes on. About two minutes of one core for each space with 100 repetitions.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autodropout.atomic import write_text
from autodropout.benchmark.account import ALIKE, check_alike, document
from autodropout.benchmark.landscapes import Benchmark, load
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.racing import Races, race
from autodropout.benchmark.standings import standings
from autodropout.benchmark.variants import Variant
from autodropout.errors import AutoDropoutError, UsageError
from autodropout.significance import paired_difference
from autodropout.token_space import TokenSpace

RESULTS = Path(__file__).parents[1] / "results"
WIDE = "wide"
SEARCHERS = ("random", "random-biased", "reinforce", "evolution")
BUDGETS = (64, 128)

CHANGES: Mapping[str, Mapping[str, Any]] = {
    WIDE: {},
    "off .35": {"off": 0.35},
    "off .25": {"off": 0.25},
    "off .15": {"off": 0.15},
    "no stride": {"strides": (0,)},
    "strides 0, 2, 8": {"strides": (0, 2, 8)},
    "sizes 1, 4, whole": {"sizes": (1, 4, "whole")},
    "rates .1, .3, .5": {"rates": (0.1, 0.3, 0.5)},
    "narrow": {"strides": (0,), "sizes": (1, 4, "whole"), "rates": (0.1, 0.3, 0.5)},
    "narrow, off .25": {"strides": (0,), "sizes": (1, 4, "whole"), "rates": (0.1, 0.3, 0.5), "off": 0.25},
    "standard since": {"strides": (0,), "sizes": (1, 4, "whole")},
    "narrow, five rates": {"strides": (0,), "sizes": (1, 4, "whole"), "rates": (0.05, 0.1, 0.2, 0.3, 0.5)},
    "narrow, four rates": {"strides": (0,), "sizes": (1, 4, "whole"), "rates": (0.05, 0.1, 0.3, 0.5)},
    "narrow, stride 2": {"strides": (0, 2), "sizes": (1, 4, "whole"), "rates": (0.1, 0.3, 0.5)},
}
"""What differs from the landscape's space, by name; the first is that space as it is. What became the
standard space of the library by this is called so."""


def plan(repetitions: int, budgets: tuple[int, ...] = BUDGETS) -> Plan:
    """Return what is run in every space."""
    return Plan(
        variants=[Variant.parse(words) for words in SEARCHERS], budgets=budgets, repetitions=repetitions
    )


def run(
    benchmark: Benchmark,
    plan: Plan,
    *,
    out: Path,
    changes: Mapping[str, Mapping[str, Any]] = CHANGES,
    workers: int = 2,
) -> list[Mapping[str, Any]]:
    """Search the spaces that the file does not have yet, writing it after each; return all its rows.

    Args:
        benchmark: The landscape, of a token space.
        plan: Who searches, how long, how often.
        out: Directory of spaces.json and spaces.md.
        changes: Spaces by name, the landscape's own first.
        workers: Processes.

    Raises:
        UsageError: The landscape's space is none of tokens, or the file was made otherwise.
    """
    space = benchmark.space
    if not isinstance(space, TokenSpace):
        raise UsageError(f"{benchmark.name} has a {type(space).__name__}; this varies a TokenSpace")
    file = out / "spaces.json"
    shared, kept = _kept(file, benchmark, plan)
    there = {row["space"]: row["change"] for row in kept}
    for name, change in changes.items():
        plain = json.loads(json.dumps(change))
        if there.get(name, plain) != plain:
            raise UsageError(f"{file} has another space {name!r}: {there[name]}; move it away to begin anew")
        if name in there:
            continue
        began = time.perf_counter()
        changed = replace(space, **change)
        races = race(benchmark, plan, space=changed, workers=workers)
        seconds = round(time.perf_counter() - began, 1)
        kept.append(
            {
                "space": name,
                "change": plain,
                "decisions": len(changed),
                "seconds": seconds,
                "ended": _ended(plan, races),
                "searchers": document(benchmark, plan, standings(plan, races), seconds=seconds)["searchers"],
            }
        )
        out.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(shared | {"spaces": kept}, indent=1) + "\n")
        write_text(out / "spaces.md", table(benchmark, plan, kept))
    return kept


def table(benchmark: Benchmark, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one row per space and searcher, as Markdown."""
    first, most = rows[0], plan.budgets[-1]
    lines = [
        f"# Spaces: {benchmark.name}\n",
        f"Noise-free reward, by a surrogate ({benchmark.release.regressor}) of {len(benchmark.trials)} "
        f"trials, of the policy that a search ends with; mean over {plan.repetitions} searches, half its 95% "
        f"interval. Against {first['space']}: the same searcher after {most} trials, paired by repetition, "
        f"95% interval. No dropout has {benchmark.none:.4f}. Machine and versions are in spaces.json.\n",
        f"| space | searcher | {' | '.join(f'{trials} trials' for trials in plan.budgets)} "
        f"| against {first['space']} | p |",
        f"|---|---|{'---:|' * (len(plan.budgets) + 2)}",
    ]
    for row in rows:
        for searcher in row["searchers"]:
            name = searcher["variant"]["name"]
            cells = [
                f"{s['value']['mean']:.4f} ±{s['value']['high'] - s['value']['mean']:.4f}"
                for s in searcher["standings"]
            ]
            cells += _against(row["ended"][name][str(most)], first["ended"][name][str(most)])
            lines.append(f"| {row['space']} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _against(ended: Sequence[float], first: Sequence[float]) -> list[str]:
    found = paired_difference(ended, first)
    if found.p is None or found.low is None or not any(a != b for a, b in zip(ended, first, strict=True)):
        return ["", ""]
    return [f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})", f"{found.p:.2g}"]


def _ended(plan: Plan, races: Races) -> dict[str, dict[str, list[float]]]:
    """Return what each search ended with, by searcher and number of trials."""
    found: dict[str, dict[str, list[float]]] = {}
    for variant in plan.variants:
        for simulated in races[variant.name].values():
            for trials in simulated.budgets:
                column = simulated.ended[:, simulated.looks.index(trials)]
                found.setdefault(variant.name, {})[str(trials)] = [round(float(v), 6) for v in column]
    return found


def _kept(file: Path, benchmark: Benchmark, plan: Plan) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return what all rows share, and the rows of an earlier run, which must have been made alike."""
    shared = document(benchmark, plan, (), seconds=0.0)
    for name in ("seconds", "searchers"):
        del shared[name]
    shared["searchers"] = [asdict(variant) for variant in plan.variants]
    if not file.is_file():
        return shared, []
    facts = json.loads(file.read_text(encoding="utf8"))
    check_alike(file, facts, shared, (*ALIKE, "searchers"))
    rows = facts.pop("spaces")
    return facts, list(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", nargs="?", default="ptb-small", help="name of the landscape, or its file")
    parser.add_argument("--repetitions", type=int, default=100, help="searches per space and searcher")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--out", type=Path, help="directory of the results")
    given = parser.parse_args()
    try:
        benchmark = load(given.name)
        run(
            benchmark,
            plan(given.repetitions),
            out=given.out or RESULTS / benchmark.name,
            workers=given.workers,
        )
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; what was finished is kept. The same command goes on.")
