"""How many seeds the differences in Tables 1 to 5 of Demystifying Dropout need, and what four can show.

    python experiments/demystifying_power.py [--table 3] [--spread .001 | --pilot RUNS] [--out FILE]

The paper gives means of four runs and no spread. Seeds that a paired t test at 5% needs to see a difference
with a power of 80% follow from the standard deviation of the difference over seeds. --spread says it;
--pilot takes it, pair by pair, from the runs of the table that --table names (demystifying.py TABLE), and
leaves out what was not run. Without either it is what independent errors on n test images would leave,
sqrt((a (1 - a) + b (1 - b)) / n): images that every network gets right, or wrong, make it smaller.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autodropout.atomic import write_text
from autodropout.comparison import read_comparison
from autodropout.errors import AutoDropoutError, UsageError
from autodropout.significance import power, seeds_needed
from comparing import Pair, provenance
from demystifying_pairs import BOTH, families
from demystifying_printed import PRINTED

RUNS, SCHEMA = 4, 1
TABLES = tuple(name for name in PRINTED if name != BOTH and not name.startswith("6"))
"""Those that print all that they compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one pair of a table needs.

    Attributes:
        table: Its number and experiment.
        arm: Cell whose figure is measured.
        against: Cell that it is measured against.
        difference: First less second, as printed.
        standard_error: Of the second's accuracy, from the number of test images.
        spread: Standard deviation of the difference over seeds.
        power: Of four seeds, in a two-sided paired t test at 5%.
        seeds: For a power of 80%; None where no number does.
    """

    table: str
    arm: str
    against: str
    difference: float
    standard_error: float
    spread: float
    power: float
    seeds: int | None


def needs(table: str, spreads: Mapping[Pair, float] | float | None = None) -> Iterator[Need]:
    """Yield what each pair of a table needs.

    Args:
        table: As demystifying.py names it.
        spreads: Of every difference, or of some pairs, the others being left out; None for what independent
            errors leave.
    """
    printed = PRINTED[table]
    for family in families(table, printed.accuracies):
        for arm, against in family:
            one, other = printed.accuracies[arm], printed.accuracies[against]
            errors = [math.sqrt(a * (1.0 - a) / printed.images) for a in (one, other)]
            match spreads:
                case None:
                    spread = math.hypot(*errors)
                case float():
                    spread = spreads
                case _ if (arm, against) not in spreads:
                    continue
                case _:
                    spread = spreads[arm, against]
            difference = round(one - other, 6)
            yield Need(
                table=printed.title,
                arm=arm,
                against=against,
                difference=difference,
                standard_error=errors[1],
                spread=spread,
                power=power(difference / spread, RUNS),
                seeds=seeds_needed(difference, spread),
            )


def measured(runs: Path, table: str) -> dict[Pair, float]:
    """Return the spread of the difference of each pair of a table that was run.

    Raises:
        LedgerError: The directory holds no comparison.
        UsageError: It has no pair of the table, or a pair has no two seeds that differ.
    """
    found = read_comparison(runs)
    spreads = {}
    printed = families(table, PRINTED[table].accuracies)
    for pair in (pair for family in printed for pair in family):
        if not set(pair) <= set(found.values):
            continue
        paired = found.between(*pair)
        if paired is None or not paired.spread:
            raise UsageError(f"{runs} has no two seeds at which {' and '.join(pair)} differ; train more")
        spreads[pair] = paired.spread
    if not spreads:
        raise UsageError(f"{runs} has no two cells that table {table} compares; name the table that it is of")
    return spreads


def listed(rows: Sequence[Need]) -> str:
    """Return one line per pair."""
    lines = [f"{'table':<28}{'cell':<17}{'against':<16}difference   spread  power of 4  seeds for 80%"]
    lines += [
        f"{row.table:<28}{row.arm:<17}{row.against:<16}{row.difference:>+10.4f}  {row.spread:.5f}"
        f"  {row.power:>10.2f}  {'-' if row.seeds is None else row.seeds:>13}"
        for row in rows
    ]
    return "\n".join(lines)


def started(given: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if given.pilot is not None and (given.table is None or given.spread is not None):
        raise UsageError("--pilot needs --table, the one that was run, and leaves no room for --spread")
    if given.spread is not None and not 0.0 < given.spread < math.inf:
        raise UsageError(f"--spread is {given.spread!r}; a standard deviation of differences is above 0")
    spreads = given.spread if given.pilot is None else measured(given.pilot, given.table)
    tables = TABLES if given.table is None else (given.table,)
    rows = [need for table in tables for need in needs(table, spreads)]
    print(listed(rows))
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        plain = {"schema": SCHEMA, **provenance(), "needs": [asdict(row) for row in rows]}
        write_text(given.out, json.dumps(plain, indent=1) + "\n")


def arguments() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--spread", type=float, help="standard deviation of every difference over seeds")
    parser.add_argument("--pilot", type=Path, help="directory of a table's runs")
    parser.add_argument("--table", choices=TABLES, help="only this one")
    parser.add_argument("--out", type=Path, help="file for all figures as JSON")
    return parser


if __name__ == "__main__":
    try:
        started(arguments().parse_args())
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
