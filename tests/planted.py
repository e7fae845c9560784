"""Policies planted in a large space: rewards whose best point is known."""

import random

from autodropout.token_space import TokenSpace
from contracts.searcher import batch_of, scored

PLANTED = TokenSpace.wide(("query", "ffn", "output"))
"""840^3 raw points, 721^3 = 374,805,361 policies."""


def planted(seed):
    """A hidden policy with all sites on, and the share of its decisions that a policy matches."""
    rng = random.Random(f"planted {seed}")
    hidden = tuple(rng.randrange(1 if c.name == "size" else 0, len(c.values)) for c in PLANTED.choices)

    def reward(tokens):
        live = PLANTED.live(tokens)
        return sum(on and t == h for t, h, on in zip(tokens, hidden, live, strict=True)) / len(hidden)

    return reward


def best_of(searcher, reward, trials, noise=0.0, seed=0):
    """The highest noise-free reward among so many trials, all of them on policy."""
    rng, best = random.Random(seed), 0.0
    for update in range(trials // searcher.batch):
        proposals = batch_of(searcher)
        true = [reward(p.tokens) for p in proposals]
        best = max(best, *true)
        searcher.learn(scored(proposals, [r + rng.gauss(0, noise) for r in true], update=update))
    return best
