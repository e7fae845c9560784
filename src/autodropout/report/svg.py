"""Small charts as inline SVG; colours come from the page's style sheet, so that they follow its scheme."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autodropout.report.markup import Markup, element, join, number

MOST_TIPS = 600
"""With more points than this the single ones no longer answer to the pointer."""

_LETTER = 6.3  # mean width of a letter of 11 units
_GRIDDED_SIDE = 40

At = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A linear scale from values to coordinates."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a chart's values lie.

    Attributes:
        width: Of the whole picture, in units; about one pixel each.
        height: Likewise.
        x: Scale of the horizontal axis.
        y: Scale of the vertical axis.
        x_title: What stands on the horizontal axis.
        y_title: What stands on the vertical axis.
        whole_x: Whether only whole numbers make sense on the horizontal axis.
    """

    width: float
    height: float
    x: Scale
    y: Scale
    x_title: str
    y_title: str
    whole_x: bool = False


def frame(size: At, x: At, y: At, titles: tuple[str, str], *, whole_x: bool = False) -> Frame:
    """Return a frame with room for the labels of both axes.

    Args:
        size: (width, height) of the picture.
        x: (lowest, highest) value of the horizontal axis.
        y: Likewise for the vertical one.
        titles: What stands on the two axes.
        whole_x: Whether only whole numbers make sense on the horizontal axis.
    """
    (width, height), y = size, spread(y)
    widest = max(len(text) for _, text in ticks(*y, _steps(height, 40)))
    left = 14.0 + _LETTER * widest
    return Frame(
        width=width,
        height=height,
        x=Scale(low=spread(x)[0], high=spread(x)[1], start=left, end=width - 12.0),
        y=Scale(low=y[0], high=y[1], start=height - 36.0, end=26.0),
        x_title=titles[0],
        y_title=titles[1],
        whole_x=whole_x,
    )


def spread(interval: At) -> At:
    """Return an interval of some width: as it is, or widened about its one value."""
    low, high = interval
    margin = 0.05 * abs(low) or 0.5
    return (low, high) if high > low else (low - margin, low + margin)


def ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[tuple[float, str]]:
    """Return round values within an interval and their labels, about ``most`` of them at most."""
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    step = max(1.0, step) if whole else step
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    places = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(place * step, _label(place * step, decimals)) for place in places]


def picture(at: Frame, label: str, *marks: Markup, class_: str = "", rows: bool = True) -> Markup:
    """Return a chart: its axes and the marks on them.

    Args:
        at: Its frame.
        label: What it shows, for those who do not see it.
        marks: What is drawn, from back to front.
        class_: Class of the element.
        rows: Whether the vertical axis is a scale of numbers, and drawn.
    """
    return element(
        "svg",
        _rows(at) if rows else None,
        _columns(at, ruled=not rows),
        *marks,
        viewBox=f"0 0 {number(at.width)} {number(at.height)}",
        role="img",
        aria_label=label,
        class_=f"chart {class_}".strip(),
    )


def line(at: Frame, points: Iterable[At], class_: str) -> Markup:
    """Return a line through points."""
    return element("path", d=_path(at, points), class_=f"line {class_}")


def steps(at: Frame, points: Sequence[At], until: float, class_: str) -> Markup:
    """Return a line that keeps each value until the next point, the last one until ``until``."""
    ends = [x for x, _ in points[1:]] + [until]
    corners = [corner for (x, y), end in zip(points, ends, strict=True) for corner in ((x, y), (end, y))]
    return line(at, corners, class_)


def band(at: Frame, edges: Sequence[tuple[float, float, float]], class_: str) -> Markup:
    """Return the area between two lines, given as (x, lower, upper), cut off at the frame."""
    low, high = at.y.low, at.y.high
    upper = [(x, min(max(up, low), high)) for x, _, up in edges]
    lower = [(x, min(max(down, low), high)) for x, down, _ in reversed(edges)]
    return element("path", d=f"{_path(at, [*upper, *lower])}Z", class_=f"band {class_}")


def level(at: Frame, y: float, class_: str) -> Markup:
    """Return a horizontal line across the frame."""
    return line(at, [(at.x.low, y), (at.x.high, y)], class_)


def dots(at: Frame, points: Sequence[At], tips: Sequence[str], class_: str) -> Markup:
    """Return one dot per point with its tip; so many that tips would be slow become one path.

    Points below the frame are drawn at its lower edge, as small triangles.
    """
    if len(points) > MOST_TIPS:
        places = (f"M{number(at.x(x))} {number(at.y(max(y, at.y.low)))}h0" for x, y in points)
        return element("path", d="".join(places), class_=f"cloud {class_}")
    return join(_dot(at, x, y, tip, class_) for (x, y), tip in zip(points, tips, strict=True))


def whisker(at: Frame, interval: At, y: float, class_: str) -> Markup:
    """Return a horizontal interval, cut off at the frame."""
    low, high = (min(max(value, at.x.low), at.x.high) for value in interval)
    return line(at, [(low, y), (high, y)], class_)


def mask(keep: NDArray[np.bool_], label: str) -> Markup:
    """Return a drawn mask: what is dropped is filled.

    Args:
        keep: True = kept, (rows, columns).
        label: What it shows.
    """
    rows, columns = keep.shape
    parts = [
        element("rect", width=columns, height=rows, class_="kept"),
        element("path", d=_runs(~keep), class_="dropped"),
    ]
    if max(rows, columns) <= _GRIDDED_SIDE:
        across = "".join(f"M0 {row}h{columns}" for row in range(1, rows))
        down = "".join(f"M{column} 0v{rows}" for column in range(1, columns))
        parts.append(element("path", d=across + down, class_="grid"))
    return element(
        "svg", *parts, viewBox=f"0 0 {columns} {rows}", role="img", aria_label=label, class_="mask"
    )


def _runs(dropped: NDArray[np.bool_]) -> str:
    edges = np.diff(np.pad(dropped, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return "".join(
        f"M{start} {row}h{end - start}v1h{start - end}Z"
        for (row, start), (_, end) in zip(starts.tolist(), ends.tolist(), strict=True)
    )


def _dot(at: Frame, x: float, y: float, tip: str, class_: str) -> Markup:
    if y < at.y.low:
        left, bottom = number(at.x(x) - 3.5), number(at.y.start)
        return element("path", d=f"M{left} {bottom}l3.5 -6l3.5 6Z", class_=f"dot {class_}", data_tip=tip)
    return element("circle", cx=at.x(x), cy=at.y(y), r=3.2, class_=f"dot {class_}", data_tip=tip)


def _path(at: Frame, points: Iterable[At]) -> str:
    return "M" + "L".join(f"{number(at.x(x))} {number(at.y(y))}" for x, y in points)


def _rows(at: Frame) -> Markup:
    marked = ticks(at.y.low, at.y.high, _steps(at.height, 40))
    rules = (_rule(at.x.start, at.x.end, at.y(value), at.y(value)) for value, _ in marked)
    labels = (
        element("text", label, x=at.x.start - 8.0, y=at.y(value) + 4.0, class_="end")
        for value, label in marked
    )
    return join([*rules, *labels, element("text", at.y_title, x=2.0, y=12.0, class_="title")])


def _columns(at: Frame, *, ruled: bool) -> Markup:
    marked = ticks(at.x.low, at.x.high, _steps(at.width, 78), whole=at.whole_x)
    rules = (_rule(at.x(value), at.x(value), at.y.start, at.y.end) for value, _ in marked if ruled)
    labels = (
        element("text", label, x=at.x(value), y=at.y.start + 17.0, class_="middle") for value, label in marked
    )
    title = element("text", at.x_title, x=at.x.end, y=at.height - 3.0, class_="title end")
    return join([*rules, *labels, title])


def _rule(x1: float, x2: float, y1: float, y2: float) -> Markup:
    return element("line", x1=x1, x2=x2, y1=y1, y2=y2, class_="rule")


def _steps(length: float, each: float) -> int:
    return max(2, int(length / each))


def _label(value: float, decimals: int) -> str:
    if abs(value) >= 1e6 or decimals > 6:
        return f"{value:.3g}"
    return f"{value:,.{decimals}f}"
