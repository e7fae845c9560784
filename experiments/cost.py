"""What searches have cost, side by side: compute, share outside training, price of one percent.

    python experiments/cost.py --to results/digits/cost \
        reinforce=runs/digits-evidence:results/digits/comparison.json:policy \
        random=runs/digits-evidence/compare/random:results/digits/comparison.json:random \
        tpe=runs/digits-evidence/tpe:results/digits/tpe.json:policy

Each argument names a search: NAME=DIRECTORY, and after colons a comparison's JSON file and the arm in it
that has the search's policy. Without a comparison the gain is that of the report: confirmed reward over the
mean policy before the first update.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autodropout.atomic import write_text
from autodropout.errors import AutoDropoutError, UsageError
from autodropout.report.costs import Costs, costs
from autodropout.report.curves import progress
from autodropout.report.page.words import counted, duration, figure, percent
from autodropout.report.price import Price, compared_price, price
from autodropout.report.record import Record, read_record

_HEAD = "| search | trainings | compute spent | outside training | confirmed reward | gain | price of 1% |"
_RULE = "|---|---:|---:|---:|---:|---:|---:|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search whose cost is asked for.

    Attributes:
        name: What it is called in the table.
        out: Its directory.
        comparison: JSON file of a comparison that its policy took part in; None for none.
        arm: Which arm that was.
    """

    name: str
    out: Path
    comparison: Path | None
    arm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """The figures of a comparison as its JSON file has them.

    Attributes:
        figure: What was measured.
        higher_is_better: Whether more of it is better.
        values: Figure per seed for every arm.
    """

    figure: str
    higher_is_better: bool
    values: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A search in figures.

    Attributes:
        name: What it is called.
        costs: What it cost.
        reached: Mean reward of its best policy on fresh seeds.
        price: What one percent has cost; None if that is not known.
    """

    name: str
    costs: Costs
    reached: float | None
    price: Price | None


def asked(words: str) -> Asked:
    """Return what NAME=DIRECTORY[:FILE:ARM] asks for.

    Raises:
        UsageError: It has another form.
    """
    name, equals, rest = words.partition("=")
    out, *comparison = rest.split(":")
    if not (name and equals and out and len(comparison) in (0, 2)):
        raise UsageError(f"{words!r} names no search; expected NAME=DIRECTORY or NAME=DIRECTORY:FILE:ARM")
    file, arm = comparison or ("", "")
    return Asked(name=name, out=Path(out), comparison=Path(file) if file else None, arm=arm)


def line(search: Asked) -> Line:
    """Return what a search has cost.

    Raises:
        LedgerError: Its directory holds no study.
        UsageError: The comparison cannot be read, or has no such arm.
    """
    record = read_record(search.out)
    spent = costs(record)
    return Line(
        name=search.name,
        costs=spent,
        reached=record.best.reward if record.best is not None and record.best.rewards else None,
        price=_price(search, record, spent),
    )


def table(lines: Sequence[Line]) -> str:
    """Return the searches as a Markdown table."""
    rows = [f"| {' | '.join(_cells(one))} |" for one in lines]
    return "\n".join([_HEAD, _RULE, *rows]) + "\n"


def plain(lines: Sequence[Line]) -> list[dict[str, object]]:
    """Return the searches as plain data."""
    return [
        {
            "search": one.name,
            "trainings": one.costs.trials,
            "workers": one.costs.workers,
            "wall_seconds": one.costs.wall,
            "training_seconds": one.costs.training,
            "outside_training": one.costs.outside,
            "median_seconds_a_trial": one.costs.median,
            "confirmed_reward": one.reached,
            "price": None
            if one.price is None
            else asdict(one.price)
            | {"seconds_per_percent": one.price.seconds, "trainings_per_percent": one.price.runs},
        }
        for one in lines
    ]


def _price(search: Asked, record: Record, spent: Costs) -> Price | None:
    if search.comparison is None:
        return price(record, spent, progress(record))
    arms = _arms(search.comparison)
    if search.arm not in arms.values:
        raise UsageError(f"{search.comparison} has no arm {search.arm!r}; it has {', '.join(arms.values)}")
    return compared_price(arms, spent, search.arm)


def _arms(path: Path) -> Arms:
    try:
        found = json.loads(path.read_text(encoding="utf8"))["comparison"]
        values = {arm["name"]: tuple(arm["values"]) for arm in found["arms"]}
        return Arms(figure=found["figure"], higher_is_better=found["higher_is_better"], values=values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds no comparison ({error}); name comparison.json of one") from error


def _cells(one: Line) -> list[str]:
    gain, cost = "-", "-"
    if one.price is not None:
        found = one.price
        interval = "" if found.low is None else f" ({found.low:+.2f} to {found.high:+.2f})"
        gain = f"{found.gain:+.2f}%{interval}"
        cost = "none" if found.runs is None else f"{duration(found.seconds)}, {found.runs:.0f} trainings"
    return [
        one.name,
        f"{one.costs.trials:,}",
        f"{duration(one.costs.workers * one.costs.wall)}, {counted(one.costs.workers, 'worker')}",
        percent(one.costs.outside),
        figure(one.reached),
        gain,
        cost,
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; write it, and the figures, where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("searches", nargs="+", metavar="NAME=DIRECTORY[:FILE:ARM]")
    parser.add_argument("--to", type=Path, help="write TO.md and TO.json")
    given = parser.parse_args(arguments)
    try:
        lines = [line(asked(words)) for words in given.searches]
    except AutoDropoutError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(lines))
    if given.to is not None:
        write_text(given.to.with_suffix(".md"), table(lines))
        write_text(given.to.with_suffix(".json"), json.dumps(plain(lines), indent=2, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
