"""What the searcher learned, and what it all cost."""

from collections.abc import Sequence

from autodropout.report.costs import Costs
from autodropout.report.curves import Figure
from autodropout.report.markup import Markup, element
from autodropout.report.page.charts import cost_chart, learner_chart
from autodropout.report.page.words import counted, duration, facts, percent, section
from autodropout.report.price import Price


def learner_section(figures: Sequence[Figure], updates: int, batch: int) -> Markup:
    """Return the searcher's own figures over its updates."""
    words = (
        f"{counted(updates, 'update')} of M = {counted(batch, 'trial')} each, in the searcher's own figures."
    )
    if not updates:
        words = f"No update yet: the first one needs {counted(batch, 'finished trial')}."
    charts = (
        element(
            "figure",
            element("figcaption", element("b", shown.title), f" {shown.meaning}"),
            learner_chart(shown, batch),
        )
        for shown in figures
    )
    return section("learner", "What the searcher did", words, element("div", *charts, class_="grid three"))


def costs_section(costs: Costs, price: Price | None) -> Markup:
    """Return what was spent, where the time went, what a gain has cost, and reward against training time."""
    words = (
        "Trials of all kinds. Time outside training is what the workers did not spend in the trials' own "
        "training: starting, waiting for updates and for the last trials to end, failed attempts. Stops of "
        "more than a minute are not counted."
    )
    pairs = [
        ("trials that ended", f"{costs.trials:,}"),
        ("a trial (median)", duration(costs.median)),
        ("training in all", duration(costs.training)),
        ("wall-clock time", duration(costs.wall)),
        ("workers", f"{costs.workers}"),
        ("compute spent, workers x time", duration(costs.workers * costs.wall)),
        ("workers busy", percent(costs.busy)),
        ("outside training", percent(costs.outside)),
        ("updates of the searcher", duration(costs.updating)),
    ]
    pairs += price_facts(price)
    if costs.correlation is not None:
        found = costs.correlation
        pairs.append(("reward and time, rank correlation", f"{found.rho:+.2f} (p = {found.p:.2g})"))
    return section("costs", "Costs", words, facts(pairs), cost_chart(costs))


def price_facts(price: Price | None) -> list[tuple[str, str]]:
    """Return the gain and what one percent of it has cost, as names and values."""
    if price is None:
        return [
            ("price of 1%", "not known: nothing is compared yet, nor confirmed on seeds like the search's")
        ]
    interval = "" if price.low is None else f" (95% interval {price.low:+.2g} to {price.high:+.2g})"
    return [
        ("gain", f"{price.gain:+.3g}%{interval} in {price.figure}, over {price.over}"),
        ("price of 1%", _price(price)),
    ]


def _price(price: Price) -> str:
    if price.seconds is None or price.runs is None:
        return "none: nothing was gained"
    most = ""
    if price.low is not None:
        bound = price.seconds_at_most
        most = "; no upper bound: the gain is not shown" if bound is None else f"; at most {duration(bound)}"
    return f"{duration(price.seconds)} of workers, {price.runs:.3g} trainings{most}"
