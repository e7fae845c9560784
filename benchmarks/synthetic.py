"""A landscape that was made up: every value of every decision is worth something, neighbours interact."""

import random
from collections.abc import Sequence

import numpy as np

from autodropout.engine.seeds import derived_seed
from autodropout.space import Space

_SAMPLE = 2_000


class Synthetic:
    """Rewards of policies, in standard deviations of policies drawn from the space's starting bias.

    The reward adds up a random worth of every value that is live and a random worth of every pair of
    values of neighbouring decisions. Policies from the starting bias have mean 0 and deviation 1.

    Args:
        space: What is decided.
        seed: Which landscape.
        pairs: Share of the variance that is the pairs', before values are found dead.
    """

    def __init__(self, space: Space, seed: int, pairs: float = 0.3) -> None:
        self._space = space
        rng = np.random.default_rng(derived_seed(seed, "landscape"))
        most = max(space.cardinalities)
        self._worth = np.sqrt(1 - pairs) * rng.standard_normal((len(space), most))
        self._pairs = np.sqrt(pairs) * rng.standard_normal((len(space) - 1, most, most))
        self._shift, self._scale = 0.0, 1.0
        values = [self.value(tokens) for tokens in self.drawn(_SAMPLE, derived_seed(seed, "sample"))]
        self._shift, self._scale = float(np.mean(values)), float(np.std(values))

    def value(self, tokens: Sequence[int]) -> float:
        """Return the noise-free reward of a policy, given by canonical tokens."""
        live = np.array(self._space.live(tokens))
        chosen = np.array(tokens)
        places = np.arange(len(chosen))
        worth = self._worth[places, chosen][live].sum()
        both = live[:-1] & live[1:]
        pairs = self._pairs[places[:-1], chosen[:-1], chosen[1:]][both].sum()
        return float((worth + pairs - self._shift) / self._scale)

    def drawn(self, number: int, seed: int) -> list[tuple[int, ...]]:
        """Return policies from the starting bias, in canonical tokens."""
        rng, drawn = random.Random(seed), []
        for _ in range(number):
            tokens = [
                rng.choices(range(len(choice.values)), choice.prior)[0] for choice in self._space.choices
            ]
            live = self._space.live(tokens)
            dealt = tuple(token if on else 0 for token, on in zip(tokens, live, strict=True))
            drawn.append(self._space.encode(self._space.decode(dealt)))
        return drawn
