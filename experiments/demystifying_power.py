"""How many seeds the differences in Tables 3 to 5 of Demystifying Dropout need, and what four can show.

    python experiments/demystifying_power.py [--spread .001 | --pilot RUNS] [--out FILE]

The paper gives means of four runs and no spread. Seeds that a paired t test at 5% needs to see a difference
with a power of 80% follow from the standard deviation of the difference over seeds. --spread says it;
--pilot takes it, row by row, from the runs of a table (demystifying.py TABLE), where augmented and standard
dropout at one ratio are paired by seed. Without either it is what independent errors on n test images would
leave, sqrt(2 a (1 - a) / n): images that every network gets right, or wrong, make it smaller.
"""

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from autodropout.comparison import read_comparison
from autodropout.errors import UsageError
from autodropout.significance import paired_difference, power, seeds_needed

RUNS = 4
PRINTED: Mapping[str, tuple[int, Mapping[float, tuple[float, float]]]] = {
    "3 (LeNet, MNIST)": (
        10_000,
        {
            0.1: (0.9916, 0.9918),
            0.2: (0.9922, 0.9923),
            0.3: (0.9918, 0.9925),
            0.4: (0.9917, 0.9920),
            0.5: (0.9922, 0.9925),
        },
    ),
    "4 (ConvNet-Quick, SVHN)": (
        26_032,
        {0.1: (0.9240, 0.9248), 0.2: (0.9231, 0.9258), 0.3: (0.9249, 0.9250)},
    ),
    "4 (ConvNet-Quick, CIFAR-10)": (
        10_000,
        {0.1: (0.7657, 0.7674), 0.2: (0.7617, 0.7655), 0.3: (0.7523, 0.7606)},
    ),
    "5 (ResNet-20, SVHN)": (26_032, {0.1: (0.9618, 0.9627), 0.2: (0.9626, 0.9648), 0.3: (0.9655, 0.9667)}),
    "5 (ResNet-20, CIFAR-10)": (
        10_000,
        {0.1: (0.9193, 0.9196), 0.2: (0.9176, 0.9195), 0.3: (0.9163, 0.9177)},
    ),
    "5 (ResNet-20, CIFAR-100)": (
        10_000,
        {0.1: (0.6762, 0.6786), 0.2: (0.6748, 0.6770), 0.3: (0.6686, 0.6688)},
    ),
}
"""Test images, and for each ratio the printed accuracies of standard and augmented dropout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one row of a table needs.

    Attributes:
        table: Its number and experiment.
        ratio: Forward ratio.
        difference: Augmented less standard, as printed.
        standard_error: Of one accuracy, from the number of test images.
        spread: Standard deviation of the difference over seeds.
        power: Of four seeds, in a two-sided paired t test at 5%.
        seeds: For a power of 80%; None where no number does, or more than is looked for.
    """

    table: str
    ratio: float
    difference: float
    standard_error: float
    spread: float
    power: float
    seeds: int | None


def needs(spreads: Mapping[float, float] | float | None, tables: str = "") -> Iterator[Need]:
    """Yield what each row needs.

    Args:
        spreads: Of every difference, or by ratio; None for what independent errors leave.
        tables: How the names of the tables begin that are meant.
    """
    for table, (images, rows) in PRINTED.items():
        for ratio, (standard, augmented) in rows.items() if table.startswith(tables) else ():
            error = math.sqrt(standard * (1.0 - standard) / images)
            match spreads:
                case None:
                    spread = math.sqrt(2.0) * error
                case float():
                    spread = spreads
                case _:
                    spread = spreads[ratio]
            difference = round(augmented - standard, 6)
            yield Need(
                table=table,
                ratio=ratio,
                difference=difference,
                standard_error=error,
                spread=spread,
                power=power(difference / spread, RUNS),
                seeds=seeds_needed(difference, spread),
            )


def measured(runs: Path) -> dict[float, float]:
    """Return the spread of augmented less standard at each ratio, from the runs of a table.

    Raises:
        UsageError: A ratio has fewer than two seeds.
    """
    values = read_comparison(runs).values
    found = {}
    for ratio in (float(name.split()[1]) for name in values if name.startswith("augmented ")):
        pairs = zip(values[f"augmented {ratio}"], values[f"standard {ratio}"], strict=True)
        whole = [(first, second) for first, second in pairs if first is not None and second is not None]
        spread = paired_difference(*zip(*whole, strict=True)).spread if len(whole) > 1 else None
        if not spread:
            raise UsageError(f"{runs} has no two seeds that differ at ratio {ratio}; train more")
        found[ratio] = spread
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--spread", type=float, help="standard deviation of every difference over seeds")
    parser.add_argument("--pilot", type=Path, help="directory of a table's runs")
    parser.add_argument("--table", default="", help="only tables that begin so, such as 3")
    parser.add_argument("--out", type=Path, help="file for all figures as JSON")
    given = parser.parse_args()
    rows = list(needs(given.spread if given.pilot is None else measured(given.pilot), given.table))
    print("table                        ratio  difference   spread  power of 4  seeds for 80%")
    for row in rows:
        print(
            f"{row.table:<28} {row.ratio:>5}  {row.difference:>10.4f}  {row.spread:.5f}"
            f"  {row.power:>10.2f}  {'-' if row.seeds is None else row.seeds:>13}"
        )
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf8")
