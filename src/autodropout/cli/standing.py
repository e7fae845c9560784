"""Compare searchers in the terminal: show the progress, print the table, write the JSON."""

import json as jsonlib
import time
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from autodropout.atomic import write_text
from autodropout.benchmark.account import cells, document, legend, markdown
from autodropout.benchmark.finished import Finished
from autodropout.benchmark.landscapes import Benchmark
from autodropout.benchmark.plan import Plan
from autodropout.benchmark.racing import Races, race
from autodropout.benchmark.standings import standings
from autodropout.cli.terminal import console
from autodropout.errors import UsageError

UNFINISHED = ".unfinished"
"""Suffix of the folder beside the file, until that is written."""


def hold(benchmark: Benchmark, plan: Plan, *, workers: int, out: Path | None, json: bool) -> None:
    """Compare searchers, showing the progress; then print what that shows.

    Args:
        benchmark: The landscape.
        plan: Who searches, how often, how long.
        workers: Processes.
        out: File to write the JSON to, and the table beside it as Markdown; None for none. Until then the
            searchers that are done lie in a folder beside it, and are not run again.
        json: Print JSON, and everything else to the error stream.

    Raises:
        UsageError: A setting is wrong, or the file cannot be written; or what lies beside it was asked for
            otherwise, or another process is at it.
        DataError: What lies beside it is damaged.
        KeyboardInterrupt: The user stopped it; what is kept has been said.
    """
    terminal = console(stderr=json)
    began = time.perf_counter()
    finished = None if out is None else Finished(out.with_suffix(UNFINISHED), benchmark, plan)
    with nullcontext() if finished is None else finished.held():
        races = _watched(terminal, benchmark, plan, workers, finished)
        rows = standings(plan, races)
        seconds = time.perf_counter() - began if finished is None else finished.seconds
        facts = document(benchmark, plan, rows, seconds=seconds)
        text = jsonlib.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        saved = () if out is None else _saved(out, text, markdown(facts, rows))
        if finished is not None:
            finished.clear()
    if json:
        console(soft_wrap=True).print(text, end="")
        return
    terminal.print(_table(cells(rows)))
    terminal.print()
    terminal.print(legend(facts))
    if saved:
        terminal.print(f"Saved: {' and '.join(map(str, saved))}", soft_wrap=True)


def _saved(out: Path, text: str, table: str) -> tuple[Path, Path]:
    files = (out, out.with_suffix(".md"))
    for file, content in zip(files, (text, table), strict=True):
        try:
            write_text(file, content)
        except OSError as error:
            raise UsageError(f"{file} cannot be written ({error.strerror}); name another file") from error
    return files


def _watched(
    terminal: Console, benchmark: Benchmark, plan: Plan, workers: int, finished: Finished | None
) -> Races:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task(f"Fitting the surrogate of {benchmark.name}", total=None)

        def notify(variant: str, done: int, total: int) -> None:
            progress.update(task, description=f"Simulating searches ({variant})", completed=done, total=total)

        try:
            return race(benchmark, plan, workers=workers, notify=notify, keeping=finished)
        except KeyboardInterrupt:
            progress.stop()
            terminal.print(_stopped(plan, finished), soft_wrap=True)
            raise


def _stopped(plan: Plan, finished: Finished | None) -> str:
    if finished is None:
        return "Stopped; nothing is kept. With --out it goes on where it was."
    if not finished.names:
        return "Stopped; no searcher is done, so nothing is kept yet. The same command begins anew."
    return (
        f"Stopped; {len(finished.names)} of {len(plan.variants)} searchers are kept in {finished.folder}. "
        "The same command goes on."
    )


def _table(lines: list[list[str]]) -> Table:
    heading, *body = lines
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for place, word in enumerate(heading):
        table.add_column(word, justify="left" if place == 0 else "right", overflow="fold")
    for line in body:
        table.add_row(*line)
    return table
