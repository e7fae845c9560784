"""A comparison's table as text: for a terminal, Markdown, LaTeX, JSON."""

import math
from collections.abc import Sequence

from autodropout.comparison.row import Row
from autodropout.significance import Paired, Summary

_NOTHING = "-"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_MARKDOWN = {sign: f"\\{sign}" for sign in "\\|*_`[]<>"}


def text(figure: str, rows: Sequence[Row], conclusions: Sequence[str]) -> str:
    """Return the table with aligned columns, the conclusions below it."""
    head, *body = cells(figure, rows)
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in (head, ["-" * width for width in widths], *body)
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", *conclusions])


def markdown(figure: str, rows: Sequence[Row], conclusions: Sequence[str]) -> str:
    """Return the table as Markdown, the conclusions below it."""
    head, *body = [[_escaped(cell, _MARKDOWN) for cell in row] for row in cells(figure, rows)]
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]
    return "\n".join([*lines, "", *(f"- {_escaped(line, _MARKDOWN)}" for line in conclusions)]) + "\n"


def latex(figure: str, rows: Sequence[Row], conclusions: Sequence[str]) -> str:
    """Return the table as LaTeX (package booktabs), the conclusions as comments below it."""
    table = cells(figure, rows)
    head, *body = [" & ".join(_escaped(cell, _LATEX) for cell in cells) + r" \\" for cells in table]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(table[0]) - 1)}}}"
    lines = [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {line}" for line in conclusions)]) + "\n"


def plain(row: Row) -> dict[str, object]:
    """Return a row as plain JSON values."""
    summary, paired = row.summary, row.paired
    return {
        "name": row.name,
        "runs": 0 if summary is None else summary.n,
        "missing": row.missing,
        "floored": row.floored,
        "error": row.error,
        "mean": None if summary is None else summary.mean,
        "spread": None if summary is None else summary.spread,
        "low": None if summary is None else summary.low,
        "high": None if summary is None else summary.high,
        "against": row.against,
        "pairs": 0 if paired is None else paired.n,
        "difference": None if paired is None else paired.difference,
        "difference_spread": None if paired is None else paired.spread,
        "difference_low": None if paired is None else paired.low,
        "difference_high": None if paired is None else paired.high,
        "p": None if paired is None else paired.p,
        "adjusted_p": row.adjusted_p,
        "seconds": row.seconds,
        "parameters": row.parameters,
    }


def cells(figure: str, rows: Sequence[Row]) -> list[list[str]]:
    """Return the table's headings, then each arm's cells; the last column is there only if it has figures."""
    head = ["arm", "runs", figure, "deviation", "95% interval"]
    head += ["difference", "95% interval", "against", "p (Holm)", "seconds"]
    if any(row.parameters is not None for row in rows):
        head.append("parameters")
    decimals = _decimals(rows)
    return [head, *(_row_cells(row, decimals)[: len(head)] for row in rows)]


def _row_cells(row: Row, decimals: int) -> list[str]:
    return [
        row.name,
        *_summary_cells(row.summary, decimals),
        *_paired_cells(row.paired, decimals),
        row.against or _NOTHING,
        _p_value(row.adjusted_p),
        _number(row.seconds, 1),
        _NOTHING if row.parameters is None else f"{row.parameters:,.0f}",
    ]


def _summary_cells(summary: Summary | None, decimals: int) -> list[str]:
    if summary is None:
        return ["0", _NOTHING, _NOTHING, _NOTHING]
    interval = _interval(summary.low, summary.high, decimals)
    return [str(summary.n), _number(summary.mean, decimals), _number(summary.spread, decimals), interval]


def _paired_cells(paired: Paired | None, decimals: int) -> list[str]:
    if paired is None:
        return [_NOTHING, _NOTHING]
    interval = _interval(paired.low, paired.high, decimals, sign="+")
    return [_number(paired.difference, decimals, sign="+"), interval]


def _decimals(rows: Sequence[Row]) -> int:
    """Return how many decimals show two digits of the smallest spread."""
    spreads = [row.summary.spread for row in rows if row.summary and row.summary.spread]
    return min(8, max(0, 1 - math.floor(math.log10(min(spreads))))) if spreads else 4


def _number(value: float | None, decimals: int, sign: str = "") -> str:
    return _NOTHING if value is None else f"{value:{sign}.{decimals}f}"


def _interval(low: float | None, high: float | None, decimals: int, sign: str = "") -> str:
    if low is None or high is None:
        return _NOTHING
    return f"{_number(low, decimals, sign)} to {_number(high, decimals, sign)}"


def _p_value(p: float | None) -> str:
    if p is None:
        return _NOTHING
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _escaped(cell: str, table: dict[str, str]) -> str:
    return "".join(table.get(sign, sign) for sign in cell)
