"""Numbers and dates as a reader wants them, and the pieces that every section is built from."""

from datetime import UTC, datetime

from autodropout.report.markup import Markup, element, join
from autodropout.significance import Summary
from autodropout.space import Value


def figure(value: float | None) -> str:
    """Return a figure with four significant digits; a dash for none."""
    if value is None:
        return "-"
    if 1e4 <= abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:#.4g}".rstrip(".")


def percent(value: float | None) -> str:
    """Return a share in percent; a dash for none."""
    return "-" if value is None else f"{100 * value:.3g}%"


def duration(seconds: float | None) -> str:
    """Return a duration in words, such as ``"2 min 05 s"``; a dash for none."""
    if seconds is None:
        return "-"
    if seconds < 60.0:
        return f"{seconds:.2f} s" if seconds < 1.0 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def moment(seconds: float) -> str:
    """Return a point in time, given in seconds since the epoch, as date and time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def margin(summary: Summary | None) -> str:
    """Return what stands after a mean: half its interval's width, or nothing with a single run."""
    if summary is None or summary.high is None:
        return ""
    return f"± {summary.high - summary.mean:.2g}"


def named(choice: str, value: Value) -> str:
    """Return a value of a choice, given by name, as a short word."""
    if choice in ("size", "height", "width") and value == 0:
        return "off"
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def counted(number: int, word: str) -> str:
    """Return a number with its noun, such as ``"1 trial"`` or ``"2 trials"``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def section(key: str, title: str, lead: str, *content: str | None) -> Markup:
    """Return a section with a heading, one or two sentences about it, and its content."""
    heading = element("h2", title, id=key)
    return element("section", heading, element("p", lead, class_="lead"), *content, aria_labelledby=key)


def facts(pairs: list[tuple[str, str]], *, long: bool = False) -> Markup:
    """Return names and values as a list of definitions; ``long`` values get more room."""
    rows = (element("div", element("dt", name), element("dd", value)) for name, value in pairs)
    return element("dl", *rows, class_="facts long" if long else "facts")


def legend(*entries: tuple[str, str]) -> Markup:
    """Return what the marks of a chart mean, given as (class of the mark, words)."""
    items = (element("li", element("i", class_=f"key {mark}"), words) for mark, words in entries)
    return element("ul", *items, class_="legend")


def table(headings: list[tuple[str, bool]], rows: list[list[Markup]], *, sortable: bool = False) -> Markup:
    """Return a table in a box that scrolls by itself where the page is narrow.

    Args:
        headings: (text, whether the column holds numbers).
        rows: Its cells.
        sortable: Whether a click on a heading sorts.
    """
    heads = (
        element(
            "th",
            element("button", text, type="button") if sortable else text,
            scope="col",
            class_="num" if numeric else None,
        )
        for text, numeric in headings
    )
    body = (element("tr", *cells) for cells in rows)
    inner = element(
        "table",
        element("thead", element("tr", *heads)),
        element("tbody", *body),
        class_="sortable" if sortable else None,
    )
    return element("div", inner, class_="scroll", tabindex=0, role="region", aria_label="table")


def cell(content: str, *, order: float | None = None, numeric: bool = False) -> Markup:
    """Return a table's cell.

    Args:
        content: What stands in it.
        order: What it sorts by, where that is not its text; None sorts last.
        numeric: Whether it holds a number.
    """
    key = None if order is None else f"{order:.10g}"
    return element("td", content, class_="num" if numeric else None, data_order=key)


def more(title: str, *content: str | None) -> Markup:
    """Return content that is shown on demand."""
    return element("details", element("summary", title), join(content))
