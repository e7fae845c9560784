"""Random search: the baseline that every searcher has to beat."""

import math
from collections.abc import Mapping, Sequence
from random import Random

from autodropout.engine.base import Proposal, Scored
from autodropout.engine.bookkeeping import check_number, checked_whole, figures_of, read_state, write_state
from autodropout.engine.seeds import derived_seed
from autodropout.space import Space


class RandomSearcher:
    """Draws every decision independently and learns nothing.

    Uniform over the values of each decision, as the paper's random baseline; or from the starting bias of
    the space, which also knows that about half the sites are better left alone.

    Args:
        space: What to decide.
        seed: Seed of all its draws.
        batch: Proposals per draw, and trials per (empty) update; at least 1.
        biased: Draw from the space's starting bias instead of uniformly.

    Raises:
        UsageError: The batch is below 1.

    Example:
        >>> from autodropout.token_space import TokenSpace
        >>> searcher = RandomSearcher(TokenSpace(sites=("ffn",)), seed=1)
        >>> searcher.propose(0) == searcher.propose(0) != searcher.propose(1)
        True
    """

    def __init__(self, space: Space, *, seed: int = 0, batch: int = 1, biased: bool = False) -> None:
        self._space, self._seed, self._biased = space, seed, biased
        self._batch = checked_whole("batch", batch, 1)
        self._updates = 0

    @property
    def name(self) -> str:
        """``"random"``, or ``"random-biased"``."""
        return "random-biased" if self._biased else "random"

    @property
    def batch(self) -> int:
        """Trials per update; the update only counts."""
        return self._batch

    @property
    def settings(self) -> Mapping[str, object]:
        """``batch`` and ``biased``."""
        return {"batch": self._batch, "biased": self._biased}

    def propose(self, draw: int) -> tuple[Proposal, ...]:
        """Return ``batch`` proposals; the same number of updates and draw give the same ones."""
        rng = Random(derived_seed(self._seed, self._updates, draw))
        drawn = [self._space.sample(rng, biased=self._biased) for _ in range(self._batch)]
        return tuple(Proposal(tokens=tokens, log_prob=self.log_prob(tokens)) for tokens in drawn)

    def log_prob(self, tokens: Sequence[int]) -> float:
        """Return the log-probability with which it draws these tokens; -inf for those that it never does."""
        return math.fsum(
            _log(choice.prior[token] if self._biased else 1 / len(choice.values))
            for choice, token, live in zip(self._space.choices, tokens, self._space.live(tokens), strict=True)
            if live
        )

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
            LedgerError: This is no snapshot of such a searcher.
        """
        self._updates = read_state(snapshot, self.name, ("updates",))["updates"]


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -math.inf
