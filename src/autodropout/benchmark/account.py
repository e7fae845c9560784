"""A comparison of searchers as a document: JSON for machines, Markdown for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.standings import Row, Standing, to_plain
from autodropout.engine.provenance import command, machine, versions
from autodropout.errors import UsageError
from autodropout.space import Space

SCHEMA = 1

ALIKE = ("schema", "landscape_trials", "space", "regressor", "noise", "plan")
"""Fields of a document that must be equal for its rows to stand beside others."""


def document(
    benchmark: Benchmark, plan: Plan, rows: Sequence[Row], *, seconds: float, space: Space | None = None
) -> dict[str, Any]:
    """Return everything about a comparison as plain JSON values.

    Args:
        benchmark: The landscape.
        plan: What was run.
        rows: What came of it.
        seconds: Wall-clock time that it took.
        space: What was searched; None for the landscape's space.
    """
    noise, own = benchmark.noise.pooled, benchmark.noise.own
    return {
        "schema": SCHEMA,
        "benchmark": benchmark.name,
        "task": benchmark.release.task,
        "landscape_trials": len(benchmark.trials),
        "space": (space or benchmark.space).key,
        "regressor": benchmark.release.regressor,
        "noise": {"sd": noise.sd, "low": noise.low, "high": noise.high, "own": own.sd if own else None},
        "none": benchmark.none,
        "plan": {
            "trials": list(plan.budgets),
            "repetitions": plan.repetitions,
            "capacity": plan.capacity,
            "confirm": asdict(plan.confirm),
            "seed": plan.seed,
            "common_seed": plan.common_seed,
        },
        "command": command(),
        "machine": machine(),
        "versions": dict(versions()),
        "seconds": round(seconds, 1),
        "searchers": to_plain(rows),
    }


def check_alike(file: Path, there: Mapping[str, Any], here: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse to go on with a file of figures that were made in another way.

    Args:
        file: The file.
        there: What it says.
        here: What it would say now.
        names: What must be equal in both.

    Raises:
        UsageError: Something differs.
    """
    fresh = json.loads(json.dumps(here))
    for name in names:
        if there[name] != fresh[name]:
            raise UsageError(
                f"{file} was made with {name} {there[name]!r}, not {fresh[name]!r}; "
                "move it away to begin anew"
            )


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return a table: a heading, then a row per searcher."""
    budgets = [standing.trials for standing in rows[0].standings]
    heading = ["searcher", "n", *(f"{trials} trials" for trials in budgets), "less random", "as good after"]
    return [heading, *([_name(row), str(row.repetitions), *_values(row)] for row in rows)]


def markdown(facts: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Return the table as Markdown, with what its numbers are and how they were made.

    Args:
        facts: The comparison's document.
        rows: What came of it.
    """
    heading, *body = cells(rows)
    rule = ["---", *["---:"] * (len(heading) - 1)]
    lines = [f"| {' | '.join(line)} |" for line in (heading, rule, *body)]
    made = f"`{facts['command']}`; {_listed(facts['machine'])}; {_listed(facts['versions'])}."
    return "\n".join([f"# Searchers on {facts['benchmark']}\n", *lines, "", legend(facts), "", made]) + "\n"


def legend(facts: Mapping[str, Any]) -> str:
    """Return what the table's numbers are.

    Args:
        facts: The comparison's document.
    """
    noise, plan, none = facts["noise"], facts["plan"], facts["none"]
    top, seeds, most = plan["confirm"]["top"], plan["confirm"]["seeds"], plan["trials"][-1]
    one_seed = (
        "All trials of a search have the same seed, which leaves "
        f"{noise['own']:.4f} of it among good policies. "
        if plan["common_seed"]
        else ""
    )
    return (
        f"{facts['benchmark']}: noise-free reward of the policy that a search ends with, by a surrogate "
        f"({facts['regressor']}) of {facts['landscape_trials']} trials; the {top} best policies of a search "
        f"are run again on {seeds} seeds. Mean over n searches and half its 95% interval. "
        f"No dropout has {none:.4f}; the deviation between seeds is {noise['sd']:.4f}. {one_seed}"
        f"Less random: difference to random search after {most} trials, paired by repetition. "
        f"As good after: trials in which the median search is as good as random search's after {most}, "
        f"and the 95% interval. "
        f"{facts['seconds']:.0f} s on {facts['machine']['processors']} processors."
    )


def _listed(document: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in document.items())


def _name(row: Row) -> str:
    return row.variant.name


def _values(row: Row) -> list[str]:
    last = row.standings[-1]
    return [*(_mean(standing) for standing in row.standings), _difference(last), _reached(row)]


def _mean(standing: Standing) -> str:
    value = standing.value
    return f"{value.mean:.4f}" if value.high is None else f"{value.mean:.4f} ±{value.high - value.mean:.4f}"


def _difference(standing: Standing) -> str:
    if standing.difference is None:
        return ""
    found = standing.difference
    return f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def _reached(row: Row) -> str:
    most, reached = row.standings[-1].trials, row.reached
    low, high, trials = (
        f"> {most}" if n is None else str(n) for n in (reached.low, reached.high, reached.trials)
    )
    return trials if low == high == trials else f"{trials} ({low} to {high})"
