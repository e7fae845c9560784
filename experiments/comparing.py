"""What the comparisons of both dropout papers share: arms that are runs of their own, and pairs of them.

``compare`` measures every arm against the best of the others. A row of a paper's table asks something else:
whether one method beats another under the same setting. Such pairs are named before anything runs, and the
p-values of those that answer one question are adjusted for their number (Holm).
"""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autodropout.atomic import write_text
from autodropout.comparison import Comparison
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.provenance import command, machine, versions
from autodropout.errors import AutoDropoutError
from autodropout.policy import Policy
from autodropout.result import Result
from autodropout.significance import Paired, holm

Pair = tuple[str, str]
"""An arm, and the one that it is measured against."""

Family = Sequence[Pair]
"""Pairs that answer one question, such as forward beside standard dropout at six ratios."""

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
FILES = ("comparison.json", "comparison.md")
STOPPED = 130
"""Exit code of what was stopped on request, as of what Ctrl-C stopped."""

SCHEMA = 2
LUCKY = "what is left flatters the arm that diverges"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one arm of a pair does beside the other.

    Attributes:
        arm: The arm.
        against: What it is measured against.
        family: Number of the question that it answers.
        paired: First less second, over the seeds that both have; None where there are none.
        adjusted_p: Holm's p-value over the pairs of the same question.
    """

    arm: str
    against: str
    family: int
    paired: Paired | None
    adjusted_p: float | None


def refuse(policy: Policy, seed: int) -> Result:
    """No arm of these comparisons is a policy."""
    raise TypeError(f"asked to train {policy} with seed {seed}, but every arm is a run of its own")


def answers(found: Comparison, families: Sequence[Family]) -> list[Answer]:
    """Return what a comparison says of each pair.

    Args:
        found: It has all arms that the pairs name.
        families: Chosen before the figures were seen.
    """
    rows = []
    for number, family in enumerate(families):
        differences = [found.between(*pair) for pair in family]
        adjusted = holm([None if paired is None else paired.p for paired in differences])
        rows += [
            Answer(arm=arm, against=against, family=number, paired=paired, adjusted_p=p)
            for (arm, against), paired, p in zip(family, differences, adjusted, strict=True)
        ]
    return rows


def table(figure: str, rows: Sequence[Answer], seeds: int) -> str:
    """Return the answers as a table in Markdown.

    Args:
        figure: What was compared.
        rows: The answers.
        seeds: That every arm was to have.
    """
    lines = [
        f"| arm | against | seeds | difference of {figure} | 95% interval | p | p (Holm) |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = ["0", "-", "-", "-"]
        if (paired := row.paired) is not None:
            ends = "-" if paired.low is None else f"{paired.low:+.4f} to {paired.high:+.4f}"
            cells = [str(paired.n), f"{paired.difference:+.4f}", ends, _share(paired.p)]
        lines.append(f"| {row.arm} | {row.against} | {' | '.join(cells)} | {_share(row.adjusted_p)} |")
    if len({row.family for row in rows}) > 1:
        lines += ["", "p (Holm) is adjusted over the rows of one question, which stand together."]
    if any(row.paired is None or row.paired.n < seeds for row in rows):
        lines += [
            "",
            f"Pairs with fewer than {seeds} seeds lack those on which an arm has no figure: {LUCKY}.",
        ]
    return "\n".join(lines) + "\n"


def _share(p: float | None) -> str:
    return "-" if p is None else f"{p:.3g}"


def beside_printed(found: Comparison, printed: Mapping[str, float]) -> str:
    """Return what a paper prints for each arm beside what was found, as a table in Markdown.

    Args:
        found: The comparison.
        printed: The paper's figure by arm; arms that it lacks get none.
    """
    lines = [
        f"| arm | {found.figure}, printed | here | deviation over seeds | seeds |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in found.rows:
        said = f"{printed[row.name]:.4f}" if row.name in printed else "-"
        numbers = [number for number in found.values[row.name] if number is not None]
        mean = f"{statistics.fmean(numbers):.4f}" if numbers else "-"
        deviation = f"{statistics.stdev(numbers):.4f}" if len(numbers) > 1 else "-"
        lines.append(f"| {row.name} | {said} | {mean} | {deviation} | {len(numbers)} |")
    return "\n".join([*lines, "", "Printed figures are the paper's, at its full size."]) + "\n"


def keep(
    found: Comparison, families: Sequence[Family], out: Path, printed: Mapping[str, float] | None = None
) -> str:
    """Write comparison.json and comparison.md, and return the table of pairs.

    Args:
        found: The comparison.
        families: The pairs.
        out: Directory of the comparison, which gets the two files.
        printed: The paper's figure by arm; None where it prints none.
    """
    rows = answers(found, families)
    with LedgerReader.open(out) as reader:
        setting = reader.study().task
    plain = {
        "schema": SCHEMA,
        **provenance(),
        "setting": setting,
        "comparison": json.loads(found.to_json()),
        "pairs": [asdict(row) for row in rows],
    }
    text = table(found.figure, rows, len(found.seeds))
    if printed:
        plain["printed"] = dict(printed)
        text += f"\n{beside_printed(found, printed)}"
    write_text(out / "comparison.json", json.dumps(plain, indent=2, allow_nan=False) + "\n")
    write_text(out / "comparison.md", f"{found.to_markdown()}\n{text}")
    return text


def provenance() -> dict[str, object]:
    """Return what made a file of figures: command, commit, versions and machine."""
    return {"command": command(), "commit": commit(), "versions": versions(), "machine": machine()}


def commit() -> str:
    """Return the commit that the repository is at; "unknown" in a copy without its history, or without git.

    Trainings of hours are not to end in an error for want of it.
    """
    if shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def conduct(
    make: Callable[[], Comparison],
    families: Callable[[Collection[str]], Sequence[Family]],
    out: Path,
    results: Path | None = None,
    printed: Mapping[str, float] | None = None,
) -> None:
    """Compare, keep and print what was found; a user's mistake ends the process with one line.

    Args:
        make: Runs what is left of the comparison.
        families: From the names of the arms to those that are measured against each other, by question.
        out: Directory of the comparison.
        results: Where what was found is copied to; None for nowhere.
        printed: The paper's figure by arm; None where it prints none.
    """
    try:
        found = make()
    except KeyboardInterrupt:
        sys.exit("Stopped; nothing is lost. The same command goes on.")
    except AutoDropoutError as error:
        sys.exit(f"error: {error}")
    if not found.finished:
        sys.exit("Stopped on request. The same command goes on.")
    print(found, keep(found, families(found.values), out, printed), sep="\n\n")
    if results is not None:
        copied(out, results)


def copied(out: Path, results: Path) -> None:
    """Copy what a comparison says from its directory to that of the committed figures."""
    results.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(out / name, results / name)
