"""One self-contained page about a study: no network, no scripts or fonts from elsewhere."""

import os
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from autodropout.atomic import write_text
from autodropout.errors import UsageError
from autodropout.report import page as parts
from autodropout.report.cautions import cautions
from autodropout.report.costs import costs
from autodropout.report.curves import Progress, learner, progress
from autodropout.report.effects import effects
from autodropout.report.markup import Markup, element, number
from autodropout.report.page.charts import progress_chart
from autodropout.report.page.compared import comparison_section
from autodropout.report.page.listing import failures_section, provenance_section, trials_section
from autodropout.report.page.mattered import effects_section
from autodropout.report.page.overview import header, summary, title, warnings
from autodropout.report.page.policies import policies_section
from autodropout.report.page.running import costs_section, learner_section
from autodropout.report.page.words import section
from autodropout.report.price import price
from autodropout.report.record import Record, check_not_empty, read_record
from autodropout.report.tables import failures, top_policies, trial_rows

REPORT_FILE = "report.html"

_TOP = 8
_FAILURES = 50
_SECTIONS = {
    "progress": "Progress",
    "policies": "Best policies",
    "comparison": "Comparison",
    "effects": "What mattered",
    "learner": "Searcher",
    "costs": "Costs",
    "trials": "Trials",
    "failures": "Failures",
    "provenance": "Provenance",
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(record: Record, *, refresh: float | None = None) -> str:
    """Return the page of a study, finished or not.

    Args:
        record: The study.
        refresh: Seconds after which the page loads itself again; None for never.
    """
    body = _body(record)
    script = element("script", Markup(_text("script.js")))
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", f"{title(record)} - autodropout"),
        element("style", Markup(_text("style.css"))),
        None if refresh is None else _reload_without_script(refresh),
    )
    whole = element("html", head, element("body", body, script, data_refresh=refresh), lang="en")
    return f"<!doctype html>\n{whole}\n"


def write_report(out: str | os.PathLike[str], *, to: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of the study in a directory and return its path.

    Args:
        out: Directory of the study.
        to: File to write; None for ``report.html`` in that directory.

    Raises:
        LedgerError: There is no study, or its ledger is damaged.
        UsageError: No trial has ended yet, or the file cannot be written.
    """
    record = read_record(out)
    check_not_empty(record)
    return _write(Path(to or Path(out) / REPORT_FILE), page(record))


def follow_report(
    out: str | os.PathLike[str],
    *,
    to: str | os.PathLike[str] | None = None,
    seconds: float = 5.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Write the report again and again until the study is finished; the open page follows.

    Args:
        out: Directory of the study; it may not have any trial yet.
        to: File to write; None for ``report.html`` in that directory.
        seconds: Between two versions, at least 1.
        sleep: Waits that long.

    Raises:
        LedgerError: There is no study, or its ledger is damaged.
        UsageError: ``seconds`` is out of range, or the file cannot be written.
    """
    if not seconds >= 1.0:
        raise UsageError(f"seconds is {seconds!r}; expected at least 1 between two versions of the report")
    path = Path(to or Path(out) / REPORT_FILE)
    while (record := read_record(out)).study.phase != "done":
        _write(path, page(record, refresh=seconds))
        sleep(seconds)
    return _write(path, page(record))


def _reload_without_script(seconds: float) -> Markup:
    return element("noscript", element("meta", http_equiv="refresh", content=number(seconds)))


def _body(record: Record) -> Markup:
    shown, spent = progress(record), costs(record)
    top = top_policies(record, _TOP)
    there = {key: name for key, name in _SECTIONS.items() if key != "comparison" or record.comparison}
    links = (element("a", name, href=f"#{key}") for key, name in there.items())
    wrong = sum(trial.error is not None for trial in record.trials)
    return element(
        "main",
        header(record),
        summary(record, shown, spent, top),
        warnings(cautions(record, shown, spent)),
        element("nav", *links, aria_label="sections"),
        _progress_section(shown),
        policies_section(record, top),
        None if record.comparison is None else comparison_section(record.comparison),
        effects_section(effects(record)),
        learner_section(learner(record), len(record.updates), record.study.batch),
        costs_section(spent, price(record, spent, shown)),
        trials_section(trial_rows(record)),
        failures_section(failures(record, most=_FAILURES), wrong),
        provenance_section(record),
    )


def _progress_section(shown: Progress) -> Markup:
    random = shown.random
    if not shown.rewards:
        return section("progress", _SECTIONS["progress"], "No trial has returned a finite reward yet.")
    words = "The reward of each search trial, in the order in which they ended. "
    if random.whole:
        words += "The searcher does not learn: all of it is random search."
    elif random.summary is not None:
        words += (
            f"The {random.summary.n} trials drawn before the first update are a random search from the "
            "searcher's start; what it would have found with more trials is not known from here. To know, "
            "run the search once more with --searcher random."
        )
    return section("progress", _SECTIONS["progress"], words, progress_chart(shown))


def _write(path: Path, text: str) -> Path:
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written ({error.strerror}); name another file with --to"
        ) from error
    return path


def _text(name: str) -> str:
    return files(parts).joinpath(name).read_text(encoding="utf8")
