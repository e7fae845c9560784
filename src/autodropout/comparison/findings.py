"""What a comparison found: a table, its conclusions, and the single runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autodropout.comparison import writing
from autodropout.comparison.row import Row
from autodropout.conclusions import CAVEAT, conclusion
from autodropout.significance import Paired, paired_difference

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a comparison found. ``print`` shows the table and the conclusions.

    Attributes:
        figure: What was compared: a test figure by name, or ``"reward"``.
        higher_is_better: Whether more of it is better.
        seeds: Seeds that every arm was run on.
        rows: One per arm, in the order given.
        values: Figure per seed for every arm; None where it is missing.
        finished: Whether every run has ended.
    """

    figure: str
    higher_is_better: bool
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    values: Mapping[str, tuple[float | None, ...]]
    finished: bool

    @property
    def conclusions(self) -> tuple[str, ...]:
        """Sentences that say what may be concluded, and what not."""
        said: dict[frozenset[str], str] = {}
        # Best against second is one test for two rows: the better arm's sentence comes first and stays.
        for row in sorted(self.rows, key=self._leads, reverse=True):
            if row.against is not None and row.paired is not None:
                sentence = conclusion(
                    row.name,
                    row.against,
                    row.paired,
                    adjusted_p=row.adjusted_p,
                    higher_is_better=self.higher_is_better,
                )
                said.setdefault(frozenset((row.name, row.against)), sentence)
        gaps = [_gap_text(row, len(self.seeds)) for row in self.rows if row.missing or row.floored]
        return (*said.values(), *gaps, CAVEAT)

    def between(self, arm: str, against: str) -> Paired | None:
        """Return the difference of two arms, first less second, over the seeds on which both have a figure.

        Args:
            arm: Name of an arm.
            against: Name of another.

        Returns:
            The difference, its p-value not adjusted; None where no seed has both.
        """
        return difference_of(self.values[arm], self.values[against])

    def to_markdown(self) -> str:
        """Return the table as Markdown, the conclusions below it."""
        return writing.markdown(self.figure, self.rows, self.conclusions)

    def to_latex(self) -> str:
        """Return the table as LaTeX (package booktabs), the conclusions as comments below it."""
        return writing.latex(self.figure, self.rows, self.conclusions)

    def to_json(self) -> str:
        """Return every figure, the single runs too, as strict JSON with a schema number."""
        plain = {
            "schema": SCHEMA,
            "figure": self.figure,
            "higher_is_better": self.higher_is_better,
            "finished": self.finished,
            "seeds": self.seeds,
            "arms": [writing.plain(row) | {"values": self.values[row.name]} for row in self.rows],
            "conclusions": self.conclusions,
        }
        return json.dumps(plain, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        return writing.text(self.figure, self.rows, self.conclusions)

    def _leads(self, row: Row) -> bool:
        return row.paired is not None and row.paired.difference * (1 if self.higher_is_better else -1) > 0


def difference_of(first: Sequence[float | None], second: Sequence[float | None]) -> Paired | None:
    """Return first less second over the seeds on which both have a figure; None where there are none."""
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return paired_difference([a for a, _ in both], [b for _, b in both]) if both else None


def _gap_text(row: Row, num_seeds: int) -> str:
    why = "" if row.error is None else f" ({row.error})"
    if not row.missing:
        return f"{row.name} counts as the floor on {row.floored} of {num_seeds} seeds{why}."
    return (
        f"{row.name} has no figure on {row.missing} of {num_seeds} seeds{why}. They are left out of its "
        "tests, which flatters an arm that diverges: with a floor such runs count."
    )
