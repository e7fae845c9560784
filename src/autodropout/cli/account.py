"""What a comparison leaves behind: a terminal's table, and JSON, Markdown and LaTeX files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.table import Table
from rich.text import Text

from autodropout.atomic import write_text
from autodropout.cli.quoting import beside_ours
from autodropout.comparison import Comparison
from autodropout.comparison.quotations import Quotation, quotations, quoted_elsewhere, quoted_text
from autodropout.comparison.tuning import Tuned
from autodropout.comparison.writing import cells
from autodropout.conclusions import conclusion
from autodropout.engine.provenance import machine, versions
from autodropout.errors import UsageError
from autodropout.policy import Policy
from autodropout.significance import Paired, paired_difference

SCHEMA = 1
POLICY, RANDOM = "policy", "random"
"""Names of the arms that are no baselines."""

_STEM = "comparison"
_WIDE = 140
# Columns of comparison.writing.cells, where all of them do not fit side by side. The number of runs is
# left out there: the conclusions tell where some are missing.
_FIGURES, _DIFFERENCES = (0, 2, 3, 4, 9, 10), (0, 5, 6, 7, 8)
_WORDS = (0, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSearch:
    """The arm of equal budget.

    Attributes:
        trials: Random policies that were trained.
        confirmations: Trainings of the best of them on fresh seeds.
        policy: The one with the highest mean there.
    """

    trials: int
    confirmations: int
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Everything to be told of a comparison on a task.

    Attributes:
        task: Its name.
        summary: Data, model and reward in one line.
        command: The command line that made it.
        policy: What was compared.
        tuned: The baselines that have a strength.
        random: The arm of equal budget, if there is one.
        comparison: What was found; its arms ``"policy"`` and ``"random"`` are those above.
        top5: Mean share of test images whose class is among the five likeliest, by arm, where it is known.
    """

    task: str
    summary: str
    command: str
    policy: Policy
    tuned: tuple[Tuned, ...]
    random: RandomSearch | None
    comparison: Comparison
    top5: Mapping[str, float] = field(default_factory=dict)

    @property
    def against_random(self) -> str | None:
        """What the seeds show of the policy against random search, a question of its own; None without it.

        The test is the only one of its kind, so its p-value is not adjusted for those of the table.
        """
        paired = self._paired()
        if paired is None:
            return None
        higher = self.comparison.higher_is_better
        return f"Search against chance: {conclusion(POLICY, RANDOM, paired, higher_is_better=higher)}"

    @property
    def idle(self) -> str | None:
        """A sentence about a policy that drops nothing; None if it drops something."""
        if not all(pattern.off for pattern in self.policy.sites.values()):
            return None
        return (
            "The policy drops nothing: its arm trains as without any policy, so they can show no difference."
        )

    @property
    def quoted(self) -> tuple[Quotation, ...]:
        """The paper's figures on this task, ours beside them."""
        return beside_ours(quotations(self.task), self.comparison, self.top5)

    @property
    def quoted_elsewhere(self) -> str | None:
        """A sentence about figures of the paper that do not compare with these; None if there is none."""
        return quoted_elsewhere(self.task)

    def to_json(self) -> str:
        """Return everything as strict JSON with a schema number."""
        plain = {
            "schema": SCHEMA,
            "task": self.task,
            "summary": self.summary,
            "command": self.command,
            "versions": versions(),
            "machine": machine(),
            "policy": json.loads(self.policy.to_json()),
            "tuning": [_plain(tuned) for tuned in self.tuned],
            "random": self._plain_random(),
            "comparison": json.loads(self.comparison.to_json()),
            "quoted": [quotation.to_plain() for quotation in self.quoted],
        }
        return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """Return the table, what it shows, and what it cost to make it fair."""
        head = f"# Comparison on {self.task}\n\n{self.summary}.\n\n```\n{self.command}\n```\n\n"
        notes = "".join(f"- {note}\n" for note in self._notes())
        quoted = (
            "\n".join(["", "## Quoted from the paper", "", *quoted_text(self.quoted)]) if self.quoted else ""
        )
        return f"{head}{self.comparison.to_markdown()}\n## Budget\n\n{notes}{quoted}"

    def to_latex(self) -> str:
        """Return the table (package booktabs), everything else as comments."""
        return self.comparison.to_latex() + "".join(f"% {note}\n" for note in self._notes())

    def _paired(self) -> Paired | None:
        values = self.comparison.values
        if self.random is None:
            return None
        both = [
            (mine, theirs)
            for mine, theirs in zip(values[POLICY], values[RANDOM], strict=True)
            if mine is not None and theirs is not None
        ]
        return paired_difference(*zip(*both, strict=True)) if both else None

    def _plain_random(self) -> dict[str, object] | None:
        if self.random is None:
            return None
        paired = self._paired()
        return {
            "trials": self.random.trials,
            "confirmations": self.random.confirmations,
            "policy": json.loads(self.random.policy.to_json()),
            "policy_minus_random": None if paired is None else asdict(paired),
        }

    def _notes(self) -> Iterator[str]:
        yield from map(str, self.tuned)
        if self.random is not None:
            yield (
                f"random: the best of {self.random.trials} random policies, confirmed in "
                f"{self.random.confirmations} trials"
            )
        if self.idle is not None:
            yield self.idle
        if self.against_random is not None:
            yield self.against_random
        if self.quoted_elsewhere is not None:
            yield self.quoted_elsewhere


def save(account: Account, out: Path) -> list[Path]:
    """Write all three files into a directory and return their paths.

    Raises:
        UsageError: A file cannot be written.
    """
    texts = {".json": account.to_json(), ".md": account.to_markdown(), ".tex": account.to_latex()}
    return [_written(out / f"{_STEM}{suffix}", text) for suffix, text in texts.items()]


def tables(comparison: Comparison, width: int) -> list[Table]:
    """Return the comparison as a table, or as two where the terminal is too narrow for one.

    Args:
        comparison: What was found.
        width: Of the terminal, in characters.
    """
    head, *body = cells(comparison.figure, comparison.rows)
    every = range(len(head))
    chosen = [tuple(every)] if width >= _WIDE else [_FIGURES, _DIFFERENCES]
    return [_table(head, body, tuple(place for place in places if place in every)) for places in chosen]


def quoted_tables(quoted: Sequence[Quotation]) -> list[Table]:
    """Return the paper's figures, a table of their own for each column, marked as quoted."""
    found = []
    for quotation in quoted:
        head, *body = quotation.cells()
        title = Text(quotation.title)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title, title_justify="left")
        for name in head:
            table.add_column(Text(name))
        for row in body:
            table.add_row(*(Text(cell) for cell in row))
        found.append(table)
    return found


def _table(head: list[str], body: list[list[str]], places: tuple[int, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for place in places:
        words = place in _WORDS
        table.add_column(Text(head[place]), justify="left" if words else "right", no_wrap=not words)
    for row in body:
        table.add_row(*(Text(row[place]) for place in places))
    return table


def _plain(tuned: Tuned) -> dict[str, object]:
    tried = zip(tuned.sweep.strengths, tuned.rewards, strict=True)
    return {
        "baseline": tuned.sweep.baseline,
        "strength": tuned.strength,
        "trials": tuned.trials,
        "seeds": tuned.sweep.seeds,
        "tried": [{"strength": strength, "reward": reward} for strength, reward in tried],
    }


def _written(path: Path, text: str) -> Path:
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}); make room or mend its rights"
        ) from error
    return path
