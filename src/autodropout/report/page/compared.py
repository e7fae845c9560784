"""The comparison of the policy that was found with its rivals."""

from autodropout.comparison import Comparison, Row
from autodropout.report.markup import Markup, element
from autodropout.report.page.charts import arms_chart
from autodropout.report.page.words import cell, counted, duration, figure, margin, section, table


def comparison_section(comparison: Comparison) -> Markup:
    """Return each arm's mean and interval, the paired differences, and what they show in words."""
    words = (
        f"Mean {comparison.figure} and its 95% interval over {counted(len(comparison.seeds), 'seed')}, "
        "the same for every arm and none of them the search's. Differences are paired by seed, p-values "
        "adjusted (Holm)."
    )
    if not comparison.finished:
        words += " Not all runs have ended yet."
    headings = [("arm", False), ("runs", True), (comparison.figure, True), ("95% interval", True)]
    headings += [
        ("difference", True),
        ("95% interval", True),
        ("against", False),
        ("p", True),
        ("time", True),
    ]
    verdicts = element("ul", *(element("li", sentence) for sentence in comparison.conclusions))
    content = [
        arms_chart(comparison),
        table(headings, [_cells(row) for row in comparison.rows], sortable=True),
    ]
    return section("comparison", "Comparison", words, verdicts, *content)


def _cells(row: Row) -> list[Markup]:
    summary, paired = row.summary, row.paired
    interval = "-" if paired is None or paired.low is None else f"{paired.low:+.2g} to {paired.high:+.2g}"
    return [
        cell(row.name),
        cell(str(summary.n if summary else 0), numeric=True),
        cell(figure(summary.mean if summary else None), numeric=True),
        cell(margin(summary) or "-", numeric=True),
        cell("-" if paired is None else f"{paired.difference:+.3g}", numeric=True),
        cell(interval, numeric=True),
        cell(row.against or "-"),
        cell("-" if row.adjusted_p is None else f"{row.adjusted_p:.2g}", numeric=True),
        cell(duration(row.seconds), order=row.seconds, numeric=True),
    ]
