"""The top of the page: what was searched, what was found, and what to know before believing it."""

from collections.abc import Sequence

from autodropout.report.costs import Costs
from autodropout.report.curves import Progress
from autodropout.report.markup import Markup, element, join
from autodropout.report.page.words import counted, duration, figure, margin, moment, percent
from autodropout.report.record import Record
from autodropout.report.tables import TopPolicy

_PHASES = {"search": "searching", "confirm": "confirming", "done": "finished"}


def title(record: Record) -> str:
    """Return the name of the study: its task's or its directory's."""
    return record.study.task or record.out.resolve().name


def header(record: Record) -> Markup:
    """Return name, state and date."""
    study = record.study
    ended = len(record.ended)
    words = (
        f"{study.searcher} · {ended:,} of {counted(study.trials, 'trial')} · "
        f"{counted(len(record.space), 'decision')} · written {moment(record.read)}"
    )
    state = element("span", _PHASES[study.phase], class_=f"badge {study.phase}")
    return element(
        "header",
        element("p", "autodropout · report of a search", class_="eyebrow"),
        element("h1", title(record), " ", state),
        element("p", words, class_="lead"),
    )


def summary(record: Record, progress: Progress, costs: Costs, top: Sequence[TopPolicy]) -> Markup:
    """Return the four figures that matter."""
    failed = progress.ended - len(progress.rewards)
    confirming = sum(trial.kind == "confirm" and trial.state == "done" for trial in record.trials)
    trials = [
        f"{counted(failed, 'trial')} without a reward" if failed else "all returned a reward",
        f"{confirming} more to confirm the best" if confirming else None,
    ]
    cards = (
        _best_card(top),
        _card("Search trials", f"{progress.ended:,}", *trials),
        _card(
            "Training time",
            duration(costs.training),
            f"all workers together; {duration(costs.median)} a trial (median)",
        ),
        _card(
            "Workers busy",
            percent(costs.busy),
            f"{counted(costs.workers, 'worker')}, {duration(costs.wall)} in all",
        ),
    )
    return element("div", *cards, class_="cards")


def warnings(cautions: Sequence[str]) -> Markup:
    """Return what to know before believing the search; nothing if there is nothing."""
    if not cautions:
        return Markup()
    items = (element("li", caution) for caution in cautions)
    return element(
        "aside",
        element("h2", "Before you rely on this", id="cautions"),
        element("ul", *items),
        class_="cautions",
        aria_labelledby="cautions",
    )


def _best_card(top: Sequence[TopPolicy]) -> Markup:
    if not top:
        return _card("Best policy", "-", "no trial has returned a finite reward yet", accent=True)
    best, summary = top[0].confirmed, top[0].summary
    if summary is None:
        return _card(
            "Best single trial",
            figure(best.reward),
            f"trial {best.trial}; not confirmed, so optimistic",
            accent=True,
        )
    spread = "" if best.spread is None else f", deviation {best.spread:.2g}"
    return _card(
        "Best confirmed policy",
        figure(best.reward),
        f"trial {best.trial}; mean of {counted(summary.n, 'fresh seed')}{spread}",
        small=margin(summary),
        accent=True,
    )


def _card(label: str, value: str, *notes: str | None, small: str = "", accent: bool = False) -> Markup:
    shown = element("p", value, element("small", f" {small}") if small else None, class_="value")
    lines = (element("p", note, class_="note") for note in notes if note)
    return element(
        "div",
        element("p", label, class_="label"),
        shown,
        join(lines),
        class_="card accent" if accent else "card",
    )
