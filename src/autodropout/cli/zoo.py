"""``autodropout zoo``."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table
from rich.text import Text

from autodropout.cli.command import Command
from autodropout.cli.terminal import console

if TYPE_CHECKING:
    from autodropout.zoo import Arm, Card, Evidence

_KINDS = {"found": "found", "method": "known methods", "words": "after a paper's words"}
"""What stands above the policies of a kind."""


@dataclass(frozen=True, kw_only=True)
class Zoo(Command):
    """The policies that come with the package, and where each comes from.

    Wherever a command takes a policy's file, it takes one of these names, too.

    For example:
      autodropout zoo
      autodropout zoo word-dropout
      autodropout show word-dropout
      autodropout zoo word-dropout --save mine.json

    Attributes:
        name: Say all about this one; all of them have one line each by default.
        save: Write its policy to this file.
        json: Print JSON for a machine.
    """

    name: Annotated[
        tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")
    ] = None
    save: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    json: bool = False

    def run(self) -> None:
        """Print the list or one card."""
        from autodropout import zoo
        from autodropout.errors import UsageError

        if self.name is None and self.save is not None:
            raise UsageError("--save needs the name of a policy; autodropout zoo lists them")
        cards = [zoo.card(name) for name in (zoo.names() if self.name is None else (self.name,))]
        say = console(soft_wrap=self.json).print
        if self.json:
            plain = [asdict(card) for card in cards]
            say(json.dumps(plain if self.name is None else plain[0], indent=2))
        else:
            say(_list(cards) if self.name is None else _whole(cards[0]))
        if self.name is not None and self.save is not None:
            zoo.load(self.name).save(self.save)
            if not self.json:
                say(f"Written to {self.save}.")


def _list(cards: "list[Card]") -> Table:
    """Return one line per policy: those that searches found by their task, then the others by their kind."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for heading, group in groupby(sorted(cards, key=_place), key=_heading):
        table.add_row(Text(heading, style="italic"))
        for card in group:
            table.add_row(Text(f"  {card.name}", style="bold"), Text(card.summary))
    return table


def _heading(card: "Card") -> str:
    return _KINDS[card.kind] if card.searched is None else f"found on {card.searched.task}"


def _place(card: "Card") -> tuple[int, str, str]:
    return list(_KINDS).index(card.kind), _heading(card), card.name


def _whole(card: "Card") -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for word, text in _rows(card):
        table.add_row(Text(word, style="bold"), Text(text))
    return table


def _rows(card: "Card") -> Iterator[tuple[str, str]]:
    yield card.name, card.summary
    yield "fits", card.fits
    yield "source", card.source
    if (searched := card.searched) is not None:
        yield (
            "search",
            f"{searched.trials} trials of {searched.task} by {searched.searcher}, "
            f"{searched.confirmations} to confirm; reward {searched.reward:.4f}",
        )
    if card.evidence is not None:
        yield from _measured(card.evidence)
    yield "licence", card.licence
    yield "load", f'ad.zoo.load("{card.name}")'


def _measured(evidence: "Evidence") -> Iterator[tuple[str, str]]:
    for arm in evidence.arms:
        yield "", f"{arm.name}: {evidence.figure} {arm.mean:.4f}, deviation {arm.spread:.4f}{_behind(arm)}"
    yield (
        "held out",
        f"{evidence.difference:+.4f} against {evidence.against} ({evidence.low:+.4f} to "
        f"{evidence.high:+.4f}, p = {evidence.p:.2g}, {evidence.seeds} seeds)",
    )


def _behind(arm: "Arm") -> str:
    if arm.behind is None or arm.p is None:
        return ""
    difference, low, high = arm.behind
    return f"; this policy {difference:+.4f} ({low:+.4f} to {high:+.4f}, p = {arm.p:.2g})"
