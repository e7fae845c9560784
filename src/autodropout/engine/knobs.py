"""The poor man's search: two knobs, how many sites and how strong, and a grid over both."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from autodropout.conv_space import ConvSpace
from autodropout.engine.base import Proposal, Scored
from autodropout.engine.bookkeeping import check_number, checked_whole, figures_of, read_state, write_state
from autodropout.engine.seeds import derived_seed
from autodropout.errors import SpaceError
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.space import PAD, Choice, Space

STRENGTHS = (0.03, 0.06, 0.12, 0.24)
"""Drop rates that a site is to have; 0.03 to 0.15 is where the starting bias has its median."""

_MOST_COUNTS = 8
_CANDIDATES = 8


class KnobSearcher:
    """Goes through a grid of (number of sites that are on, drop rate at each), as RandAugment did.

    Up to 8 numbers of sites, evenly spread from one to all, times four drop rates: at most 32 cells, which
    are the proposals of one draw in an order of the seed's. Which sites are on is drawn evenly; each gets
    the one of a few draws from the starting bias whose drop rate is nearest to the cell's. When the grid is
    through, it begins again with fresh draws. It learns nothing: whoever runs it takes the best trial.

    Args:
        space: What to decide.
        seed: Seed of all its draws.
        batch: Proposals per draw, and trials per (empty) update; with the default 32 they are the grid.

    Raises:
        UsageError: The batch is below 1.
    """

    def __init__(self, space: Space, *, seed: int = 0, batch: int = 32) -> None:
        self._space, self._seed = space, seed
        self._batch = checked_whole("batch", batch, 1)
        self._updates = 0
        self._grid = [
            (count, strength) for count in _counts(len(space.site_choices)) for strength in STRENGTHS
        ]
        Random(derived_seed(seed, "grid")).shuffle(self._grid)

    @property
    def name(self) -> str:
        """Word for it on the command line."""
        return "knobs"

    @property
    def batch(self) -> int:
        """Trials per update; the update only counts."""
        return self._batch

    @property
    def settings(self) -> Mapping[str, object]:
        """``batch``."""
        return {"batch": self._batch}

    def propose(self, draw: int) -> tuple[Proposal, ...]:
        """Return the next ``batch`` cells; the same number of updates and draw give the same proposals."""
        rng = Random(derived_seed(self._seed, self._updates, draw))
        first = (self._updates + draw) * self._batch
        cells = (self._grid[place % len(self._grid)] for place in range(first, first + self._batch))
        return tuple(Proposal(tokens=self._filled(*cell, rng), log_prob=None) for cell in cells)

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Count the update and return ``mean_reward`` and ``updates``.

        Raises:
            UsageError: There are not ``batch`` trials.
        """
        check_number(trials, self._batch)
        self._updates += 1
        return figures_of(trials, self._updates)

    def snapshot(self) -> bytes:
        """Return the number of updates as JSON: it is the whole state."""
        return write_state(self.name, {"updates": self._updates})

    def restore(self, snapshot: bytes) -> None:
        """Take the state back.

        Raises:
            LedgerError: This is no snapshot of this searcher.
        """
        self._updates = read_state(snapshot, self.name, ("updates",))["updates"]

    def _filled(self, count: int, strength: float, rng: Random) -> tuple[int, ...]:
        sites = tuple(self._space.site_choices)
        on = set(rng.sample(sites, count))
        tokens: list[int] = []
        for site in sites:
            width = len(self._space.site_choices[site])
            tokens += self._nearest(site, strength, rng) if site in on else (PAD,) * width
        # What is left is decided for the whole policy.
        return (*tokens, *self._space.sample(rng, biased=True)[len(tokens) :])

    def _nearest(self, site: str, strength: float, rng: Random) -> tuple[int, ...]:
        first, *others = self._space.site_choices[site]
        on = replace(first, prior=(0.0, *first.prior[1:]))
        drawn = [tuple(_drawn(choice, rng) for choice in (on, *others)) for _ in range(_CANDIDATES)]
        return min(drawn, key=lambda tokens: abs(math.log(self._drop_rate(site, tokens) / strength)))

    def _drop_rate(self, site: str, tokens: tuple[int, ...]) -> float:
        """Return the drop rate at the site under the policy that has nothing else."""
        mine = [tokens if key == site else (PAD,) * len(g) for key, g in self._space.site_choices.items()]
        alone = [token for group in mine for token in group]
        pattern = self._space.decode(alone + [PAD] * (len(self._space) - len(alone))).sites[site]
        match self._space, pattern:
            case ConvSpace(sites=sizes), ConvPattern():
                return pattern.drop_rate(*sizes[site])
            case _, TokenPattern():
                return pattern.drop_rate()
        raise SpaceError(f"the drop rate at {site!r} is unknown in a {type(self._space).__name__}")


def _counts(sites: int) -> tuple[int, ...]:
    """Return up to 8 numbers of sites, evenly spread from one to all."""
    steps = min(_MOST_COUNTS, sites) - 1
    return tuple(round(1 + (sites - 1) * step / max(steps, 1)) for step in range(steps + 1))


def _drawn(choice: Choice, rng: Random) -> int:
    return rng.choices(range(len(choice.values)), choice.prior)[0]
