"""What a searcher is: it proposes tokens and learns from rewards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from autodropout.space import Choice


class Decisions(Protocol):
    """What a controller decides: every space, and other lists of categorical decisions."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The decisions in the order in which they are made."""
        ...

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of values of each."""
        ...

    @property
    def parents(self) -> tuple[int | None, ...]:
        """For each, the one whose token 0 makes it dead; None if it never is."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Tokens to try.

    Attributes:
        tokens: One index per decision, PAD at dead positions.
        log_prob: Natural log of the probability with which they were drawn; None if the searcher has none.
    """

    tokens: tuple[int, ...]
    log_prob: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A finished trial as a searcher is taught it.

    Attributes:
        trial: Number of the trial in the ledger.
        tokens: Its proposal's tokens.
        log_prob: Their log-probability when they were drawn.
        reward: The reward; the floor where the trial diverged or was given up for its own fault.
        floored: Whether that reward is the floor.
        update: Number of updates that had been made when it was proposed.
    """

    trial: int
    tokens: tuple[int, ...]
    log_prob: float | None
    reward: float
    floored: bool
    update: int


class Searcher(Protocol):
    """Proposes and learns.

    Its state moves only in ``learn`` and ``restore``: ``propose`` leaves no trace, so that the state is
    a pure function of (space, settings, seed, trials learned in order) and a search can be replayed.
    """

    @property
    def name(self) -> str:
        """Word for it on the command line, such as ``"reinforce"``."""
        ...

    @property
    def batch(self) -> int:
        """M: finished trials per update, at least 1."""
        ...

    @property
    def settings(self) -> Mapping[str, object]:
        """Everything besides space and seed that its behaviour depends on; plain JSON values."""
        ...

    def propose(self, draw: int) -> tuple[Proposal, ...]:
        """Return the proposals of this draw, the ``draw``-th (from 0) since the last update.

        The same state and draw give the same proposals, bit for bit. The loop hands them out one by one
        and drops what is left when the searcher learns.
        """
        ...

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Make one update from ``batch`` finished trials; return figures about it, by name."""
        ...

    def snapshot(self) -> bytes:
        """Return the whole state (safetensors or JSON bytes, never pickle)."""
        ...

    def restore(self, snapshot: bytes) -> None:
        """Take the state back, bit for bit."""
        ...
