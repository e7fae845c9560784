"""The charts: progress, value effects, the learner, costs."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from autodropout.comparison import Comparison
from autodropout.report import svg
from autodropout.report.costs import Costs
from autodropout.report.curves import Figure, Point, Progress
from autodropout.report.effects import ChoiceEffect, Effects
from autodropout.report.markup import Markup, element, join
from autodropout.report.page.words import duration, figure, legend, margin, named
from autodropout.report.svg import At, Frame
from autodropout.significance import Summary

_WIDE, _NARROW, _SMALL = (1060.0, 340.0), (358.0, 300.0), (340.0, 190.0)
_FENCE = 3.0  # interquartile ranges below the lower quartile, where the axis ends
_ROW, _HEAD = 24.0, 4.0


def progress_chart(progress: Progress) -> Markup:
    """Return rewards, best so far, running mean and the random part over the trials."""
    random = progress.random
    entries = [("dot", "a trial"), ("line best", "best so far")]
    entries += [("band mean", f"mean of the last {progress.window}, with 95% interval")]
    if not random.whole:
        entries += [("line random", "expected best of as many random draws (as far as known)")]
        entries += [("line level", "mean of the random part")]
    charts = _both(lambda size, class_: _progress(progress, size, class_))
    return element("figure", legend(*entries), charts)


def effect_chart(effect: ChoiceEffect, all_effects: Effects, domain: At) -> Markup:
    """Return mean and interval of each value of a choice, one row per value."""
    height = _HEAD + _ROW * len(effect.values) + 40.0
    width = _SMALL[0]
    at = Frame(
        width=width,
        height=height,
        x=svg.Scale(low=domain[0], high=domain[1], start=52.0, end=width - 46.0),
        y=svg.Scale(low=0.0, high=1.0, start=height - 36.0, end=_HEAD),
        x_title="reward",
        y_title="",
    )
    rows = (_effect_row(at, effect, place) for place in range(len(effect.values)))
    mean = all_effects.mean
    reference = None if mean is None else svg.line(at, [(mean, 0.0), (mean, 1.0)], "level")
    label = f"Reward by {effect.name} at {effect.site}: " + "; ".join(
        f"{named(effect.name, v.value)} {figure(v.summary.mean)} ({v.summary.n})"
        for v in effect.values
        if v.summary
    )
    return svg.picture(at, label, *rows, reference or Markup(), rows=False)


def arms_chart(comparison: Comparison) -> Markup:
    """Return mean and interval of each arm of a comparison, one row per arm."""
    rows = [(row.name, row.summary) for row in comparison.rows if row.summary is not None]
    longest = max(len(name) for name, _ in rows)
    height = _HEAD + _ROW * len(rows) + 40.0
    low, high = _padded([summary for _, summary in rows])

    def chart(size: At, class_: str) -> Markup:
        start = min(8.0 + 7.0 * longest, 0.45 * size[0])
        at = Frame(
            width=size[0],
            height=height,
            x=svg.Scale(low=low, high=high, start=start, end=size[0] - 20.0),
            y=svg.Scale(low=0.0, high=1.0, start=height - 36.0, end=_HEAD),
            x_title=comparison.figure,
            y_title="",
        )
        marks = (_arm(at, name, s, 1.0 - (i + 0.5) / len(rows)) for i, (name, s) in enumerate(rows))
        label = "; ".join(f"{name} {figure(s.mean)} {margin(s)}" for name, s in rows)
        return svg.picture(at, f"{comparison.figure}: {label}", *marks, class_=class_, rows=False)

    return element("figure", _both(chart))


def effect_domain(effects: Sequence[ChoiceEffect], mean: float | None) -> At:
    """Return one axis for several choices: all means, and intervals as far as they are not absurd."""
    summaries = [value.summary for effect in effects for value in effect.values if value.summary]
    means = [summary.mean for summary in summaries] + ([] if mean is None else [mean])
    if not means:
        return (0.0, 1.0)
    low, high = min(means), max(means)
    room = 0.35 * (high - low)
    ends = [end for s in summaries if s.low is not None and s.high is not None for end in (s.low, s.high)]
    low = max(low - room, min([low, *ends]))
    return svg.spread((low, min(high + room, max([high, *ends]))))


def learner_chart(shown: Figure, batch: int) -> Markup:
    """Return one of the searcher's figures over its updates."""
    finite = [(float(number), value) for number, value in shown.values if math.isfinite(value)]
    values = [value for _, value in finite]
    top = max([*values, float(batch)]) if shown.name == "ess" else max(values)
    floor = min(values) if shown.name in ("mean_reward", "baseline") else min(0.0, *values)
    top = top if top > floor or top else 1.0
    at = svg.frame(_SMALL, (1.0, max(2.0, finite[-1][0])), (floor, top), ("update", ""), whole_x=True)
    tips = [f"update {number:.0f}: {figure(value)}" for number, value in finite]
    marks = [svg.line(at, finite, "mean")]
    if len(finite) <= svg.MOST_TIPS / 6:
        marks.append(svg.dots(at, finite, tips, "mean"))
    if shown.name == "ess":
        marks.insert(0, svg.level(at, float(batch), "level"))
    return svg.picture(at, f"{shown.title} over {len(finite)} updates", *marks)


def cost_chart(costs: Costs) -> Markup:
    """Return reward against training time."""
    pairs = [(timed.seconds, timed.reward, timed.trial) for timed in costs.timed if timed.reward is not None]
    if not pairs:
        return Markup()
    points = [(seconds, reward) for seconds, reward, _ in pairs]
    tips = [f"trial {trial}: reward {figure(reward)}, {duration(s)}" for s, reward, trial in pairs]

    def chart(size: At, class_: str) -> Markup:
        x = (min(s for s, _ in points), max(s for s, _ in points))
        at = svg.frame(size, x, visible([y for _, y in points]), ("seconds", "reward"))
        label = f"Reward against training time of {len(points)} trials"
        return svg.picture(at, label, svg.dots(at, points, tips, ""), class_=class_)

    return element("figure", _both(chart))


def visible(values: Sequence[float]) -> At:
    """Return an axis for rewards: all of them, but for outliers far below the rest."""
    low, high = min(values), max(values)
    lower, upper = np.quantile(values, [0.25, 0.75])
    fence = float(lower - _FENCE * (upper - lower))
    if low < fence < high:
        low = min(value for value in values if value >= fence)
    room = 0.04 * (high - low)
    return low - room, high + room


def _both(chart: Callable[[At, str], Markup]) -> Markup:
    """Return a chart in two shapes, of which the style sheet shows the one that fits."""
    return join([chart(_WIDE, "wide"), chart(_NARROW, "narrow")])


def _progress(progress: Progress, size: At, class_: str) -> Markup:
    last = float(max(2, progress.ended))
    y = visible([point.value for point in progress.rewards])
    at = svg.frame(size, (1.0, last), y, ("trials ended", "reward"), whole_x=True)
    mean = [(float(m.place), m.summary) for m in progress.mean]
    edges = [(x, s.low, s.high) for x, s in mean if s.low is not None and s.high is not None]
    marks = [
        svg.band(at, edges, "mean") if edges else None,
        *_random_marks(at, progress),
        svg.dots(at, [(p.place, p.value) for p in progress.rewards], _tips(progress), ""),
        svg.line(at, [(x, max(s.mean, at.y.low)) for x, s in mean], "mean") if mean else None,
        svg.steps(at, [(p.place, max(p.value, at.y.low)) for p in _changes(progress)], last, "best"),
    ]
    label = (
        f"Reward of {len(progress.rewards)} search trials in order of ending; "
        f"the best is {figure(progress.best[-1].value)} at trial {progress.best[-1].trial}"
    )
    return svg.picture(at, label, *(mark for mark in marks if mark), class_=class_)


def _random_marks(at: Frame, progress: Progress) -> list[Markup]:
    random = progress.random
    if random.whole or random.summary is None:
        return []
    inside = [(float(k), max(value, at.y.low)) for k, value in random.expected_best]
    marks = [svg.level(at, random.summary.mean, "level")] if random.summary.mean >= at.y.low else []
    return [*marks, svg.line(at, inside, "random")] if len(inside) > 1 else marks


def _tips(progress: Progress) -> list[str]:
    return [f"trial {point.trial}: {figure(point.value)}" for point in progress.rewards]


def _changes(progress: Progress) -> list[Point]:
    kept: list[Point] = []
    for point in progress.best:
        if not kept or point.value != kept[-1].value:
            kept.append(point)
    return kept


def _arm(at: Frame, name: str, summary: Summary, y: float) -> Markup:
    label = element("text", name, x=at.x.start - 8.0, y=at.y(y) + 4.0, class_="end")
    ends = None if summary.low is None or summary.high is None else (summary.low, summary.high)
    interval = None if ends is None else svg.whisker(at, ends, y, "whisker")
    tip = f"{name}: {figure(summary.mean)} {margin(summary)}, n = {summary.n}"
    return join([label, interval, svg.dots(at, [(summary.mean, y)], [tip], "value")])


def _padded(summaries: Sequence[Summary]) -> At:
    """Return an axis that holds all intervals."""
    ends = [end for s in summaries for end in (s.low, s.mean, s.high) if end is not None]
    low, high = svg.spread((min(ends), max(ends)))
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _effect_row(at: Frame, effect: ChoiceEffect, place: int) -> Markup:
    value = effect.values[place]
    y = 1.0 - (place + 0.5) / len(effect.values)
    middle = at.y(y) + 4.0
    lost = f", {value.without} without a reward" if value.without else ""
    label = element("text", named(effect.name, value.value), x=at.x.start - 8.0, y=middle, class_="end")
    summary = value.summary
    if summary is None:
        words = f"{value.without} without a reward" if value.without else "no trial"
        note = element("text", words, x=at.x.start + 6.0, y=middle, class_="faint")
        return join([label, note])
    parts = [label, element("text", f"n={summary.n}", x=at.width - 40.0, y=middle, class_="faint")]
    if summary.low is not None and summary.high is not None:
        parts.append(svg.whisker(at, (summary.low, summary.high), y, "whisker"))
    interval = "" if summary.low is None else f" [{figure(summary.low)}, {figure(summary.high)}]"
    tip = f"{named(effect.name, value.value)}: {figure(summary.mean)}{interval}, n = {summary.n}{lost}"
    return join([*parts, svg.dots(at, [(summary.mean, y)], [tip], "value")])
