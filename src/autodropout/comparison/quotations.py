"""The paper's own figures, quoted as printed, to be read beside ours and never mixed with them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Self

_FILE = "quotations.json"
_HEAD = ("method", "quoted figure", "our arm", "our figure", "note")
_NOT_RUN = "not run"
_ON_POLICY = "policy+"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedRow:
    """One method's figure.

    Attributes:
        method: As the source names it.
        figure: As the source prints it.
        arm: First word of our arm of the same method; None if nobody here runs it.
        note: What the source says about this figure alone.
        ours: What that arm has here, in the unit of the source; None if it was not run.
    """

    method: str
    figure: str
    arm: str | None
    note: str | None
    ours: str | None = None

    def cells(self) -> list[str]:
        """Return what stands under each heading; an arm that was not run is said to be so."""
        ours = "" if self.arm is None else self.ours or _NOT_RUN
        return [self.method, self.figure, self.arm or "", ours, self.note or ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotation:
    """One column of a table of the source.

    Attributes:
        source: Where it is quoted from.
        place: Where in the source.
        setting: Data and model.
        metric: What the figures are.
        rows: In the source's order.
    """

    source: str
    place: str
    setting: str
    metric: str
    rows: tuple[QuotedRow, ...]

    @property
    def title(self) -> str:
        """One line that says what the figures are and that they are not ours."""
        return (
            f"Quoted figures, not measured here: {self.setting}, {self.metric} ({self.source}; {self.place})"
        )

    def cells(self) -> list[list[str]]:
        """Return headings and then each row's cells; columns in which nothing stands are left out."""
        table = [row.cells() for row in self.rows]
        used = [place for place in range(len(_HEAD)) if any(cells[place] for cells in table)]
        return [[cells[place] for place in used] for cells in (list(_HEAD), *table)]

    def beside(self, ours: Mapping[str, str]) -> Self:
        """Return it with our figures in its rows.

        Args:
            ours: By the first word of their arm, of the arms that were run; in the unit of ``metric``.
        """
        rows = (replace(row, ours=None if row.arm is None else ours.get(row.arm)) for row in self.rows)
        return replace(self, rows=tuple(rows))

    def to_plain(self) -> dict[str, object]:
        """Return everything as plain JSON values."""
        return asdict(self)


def quotations(task: str) -> tuple[Quotation, ...]:
    """Return what the paper reports on a task, Tables 1 to 3; nothing for tasks that are not the paper's.

    Args:
        task: Its name on the command line.

    Example:
        >>> [quoted.place for quoted in quotations("imagenet-efficientnet-b7")]
        ['Table 1: control experiment, all models trained by the authors']
        >>> quotations("imagenet-efficientnet-b7")[0].rows[-1].figure
        '84.7 / 97.1'
    """
    return tuple(_read(column) for column in _columns() if task in column["tasks"])


def combined_in(task: str) -> tuple[str, ...]:
    """Return the methods that the paper's tables have on top of the policy on a task, by our names for them.

    Args:
        task: Its name on the command line.

    Example:
        >>> combined_in("cifar10-wrn28-10"), combined_in("cifar10-small")
        (('rand-augment',), ())
    """
    arms = [row.arm for quotation in quotations(task) for row in quotation.rows if row.arm is not None]
    names = (arm.removeprefix(_ON_POLICY) for arm in arms if arm.startswith(_ON_POLICY))
    return tuple(dict.fromkeys(names))


def quoted_elsewhere(task: str) -> str | None:
    """Return a sentence on a task that stands for one of the paper's and has no figures there; else None.

    Args:
        task: Its name on the command line.
    """
    other = _data()["elsewhere"].get(task)
    if other is None:
        return None
    return (
        f"The paper reports nothing on {task}. What it reports on {other} is of another network or of more "
        "data: those figures do not compare with these."
    )


def quoted_text(quoted: Sequence[Quotation]) -> Iterator[str]:
    """Yield Markdown: for each quotation a heading and a table."""
    for quotation in quoted:
        head, *body = quotation.cells()
        yield f"### {quotation.title}"
        yield ""
        yield from (f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *body))
        yield ""


def _read(column: Mapping[str, Any]) -> Quotation:
    arms, data = _data()["arms"], _data()
    return Quotation(
        source=data["sources"][column["source"]],
        place=column["place"],
        setting=column["setting"],
        metric=column["metric"],
        rows=tuple(
            QuotedRow(
                method=row["method"],
                figure=row["figure"],
                arm=arms.get(row["method"]),
                note=row.get("note"),
            )
            for row in column["rows"]
        ),
    )


def _columns() -> Sequence[Mapping[str, Any]]:
    columns: Sequence[Mapping[str, Any]] = _data()["columns"]
    return columns


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    text = (files("autodropout.comparison") / _FILE).read_text(encoding="utf8")
    data: Mapping[str, Any] = json.loads(text)
    return data
