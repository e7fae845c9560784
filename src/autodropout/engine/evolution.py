"""Regularised evolution: children of good parents, the oldest dies (Real et al. 2019)."""

from collections import deque
from collections.abc import Mapping, Sequence
from random import Random

from autodropout.engine.base import Proposal, Scored
from autodropout.engine.bookkeeping import check_number, checked_whole, figures_of, read_state, write_state
from autodropout.engine.seeds import derived_seed
from autodropout.space import PAD, Choice, Space

_Member = tuple[tuple[int, ...], float]


class EvolutionSearcher:
    """Keeps the newest trials as its population and proposes mutants of the best of a few of them.

    Until the population is full it draws from the starting bias of the space. Then each proposal takes
    ``sample`` members at random, copies the one with the highest reward and changes ``mutations``
    decisions, one after the other: a decision that means something, drawn evenly, gets another of its
    values, drawn evenly. A site that is switched on draws its other decisions from the starting bias.
    Whoever is learned joins the population, and the oldest leaves it whatever its reward: so a lucky
    measurement does not live for ever.

    Args:
        space: What to decide.
        seed: Seed of all its draws.
        batch: Proposals per draw, and trials per update; at least 1.
        population: Members, at least 2.
        sample: Members that a parent is the best of, from 1 to all of them.
        mutations: Decisions that a child changes, at least 1.

    Raises:
        UsageError: A number is out of range.

    Example:
        >>> from autodropout.token_space import TokenSpace
        >>> len(EvolutionSearcher(TokenSpace(sites=("ffn",)), seed=1).propose(0))
        1
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int = 0,
        batch: int = 1,
        population: int = 32,
        sample: int = 8,
        mutations: int = 2,
    ) -> None:
        self._space, self._seed = space, seed
        self._batch = checked_whole("batch", batch, 1)
        self._size = checked_whole("population", population, 2)
        self._sample = min(checked_whole("sample", sample, 1), self._size)
        self._mutations = checked_whole("mutations", mutations, 1)
        self._population: deque[_Member] = deque(maxlen=self._size)
        self._updates = 0

    @property
    def name(self) -> str:
        """Word for it on the command line."""
        return "evolution"

    @property
    def batch(self) -> int:
        """Trials per update."""
        return self._batch

    @property
    def settings(self) -> Mapping[str, object]:
        """The arguments besides space and seed."""
        return {
            "batch": self._batch,
            "population": self._size,
            "sample": self._sample,
            "mutations": self._mutations,
        }

    def propose(self, draw: int) -> tuple[Proposal, ...]:
        """Return ``batch`` proposals; the same state and draw give the same ones."""
        rng = Random(derived_seed(self._seed, self._updates, draw))
        return tuple(Proposal(tokens=self._proposed(rng), log_prob=None) for _ in range(self._batch))

    def learn(self, trials: Sequence[Scored]) -> Mapping[str, float]:
        """Take the trials into the population; return ``mean_reward`` and ``updates``.

        Raises:
            UsageError: There are not ``batch`` trials.
        """
        check_number(trials, self._batch)
        self._population.extend((trial.tokens, trial.reward) for trial in trials)
        self._updates += 1
        return figures_of(trials, self._updates)

    def pretrain(self, trials: Sequence[Scored]) -> None:
        """Take the newest trials of another study as the population, as if it had learned them all."""
        self._population.extend((trial.tokens, trial.reward) for trial in trials)

    def snapshot(self) -> bytes:
        """Return the population, oldest first, and the number of updates as JSON."""
        return write_state(self.name, {"updates": self._updates, "population": list(self._population)})

    def restore(self, snapshot: bytes) -> None:
        """Take the state back.

        Raises:
            LedgerError: This is no snapshot of an evolution.
        """
        state = read_state(snapshot, self.name, ("updates", "population"))
        self._updates = state["updates"]
        self._population = deque(
            ((tuple(tokens), reward) for tokens, reward in state["population"]), maxlen=self._size
        )

    def _proposed(self, rng: Random) -> tuple[int, ...]:
        if len(self._population) < self._size:
            return self._space.sample(rng, biased=True)
        tokens, _ = max(rng.sample(list(self._population), self._sample), key=_reward)
        for _ in range(self._mutations):
            tokens = self._mutated(tokens, rng)
        return tokens

    def _mutated(self, tokens: tuple[int, ...], rng: Random) -> tuple[int, ...]:
        """Change one live decision; where that switches a site on or off, its others come or go, too."""
        sizes = self._space.cardinalities
        live = [place for place, alive in enumerate(self._space.live(tokens)) if alive and sizes[place] > 1]
        place = rng.choice(live)  # a size has at least "off" and one more value, so there is one
        changed = [*tokens]
        changed[place] = rng.choice([token for token in range(sizes[place]) if token != tokens[place]])
        for child, parent in enumerate(self._space.parents):
            if parent == place and changed[place] == 0:
                changed[child] = PAD
            elif parent == place and tokens[place] == 0:
                changed[child] = _drawn(self._space.choices[child], rng)
        return tuple(changed)


def _drawn(choice: Choice, rng: Random) -> int:
    return rng.choices(range(len(choice.values)), choice.prior)[0]


def _reward(member: _Member) -> float:
    return member[1]
