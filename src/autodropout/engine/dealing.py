"""A searcher's draws, handed out one proposal at a time."""

from dataclasses import dataclass

from autodropout.engine.base import Proposal, Searcher
from autodropout.errors import StudyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealt:
    """A proposal and where it came from.

    Attributes:
        proposal: What to try.
        update: Number of updates that had been made.
        draw: Draw since then, from 0.
        place: Position in the draw, from 0.
    """

    proposal: Proposal
    update: int
    draw: int
    place: int


class Dealer:
    """Deals a searcher's proposals in an order that (update, draw, place) names.

    A draw is made when it is first needed. After an update the rest of the current draw is dropped,
    because the searcher that drew it is no more.

    Args:
        searcher: Who proposes.
        update: Number of updates that it has made.
        draw: Draw since that update to go on with.
        place: Position in that draw of the next proposal.
    """

    def __init__(self, searcher: Searcher, *, update: int, draw: int = 0, place: int = 0) -> None:
        self._searcher = searcher
        self._update, self._draw, self._place = update, draw, place
        self._hand: tuple[Proposal, ...] | None = None

    def deal(self) -> Dealt:
        """Return the next proposal.

        Raises:
            StudyError: The searcher drew nothing.
        """
        if self._hand is None:
            self._hand = self._drawn()
        if self._place >= len(self._hand):
            self._draw, self._place = self._draw + 1, 0
            self._hand = self._drawn()
        place = self._place
        self._place += 1
        return Dealt(proposal=self._hand[place], update=self._update, draw=self._draw, place=place)

    def learned(self) -> None:
        """Drop what is left: the searcher has made an update."""
        self._update, self._draw, self._place = self._update + 1, 0, 0
        self._hand = None

    def _drawn(self) -> tuple[Proposal, ...]:
        if not (hand := tuple(self._searcher.propose(self._draw))):
            raise StudyError(f"the searcher {self._searcher.name!r} proposed nothing; expected at least one")
        return hand
