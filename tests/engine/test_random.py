import json
import math
from collections import Counter

import pytest
from scipy.stats import binom

from autodropout.engine.random import RandomSearcher
from autodropout.engine.searchers import make_searcher
from autodropout.errors import LedgerError, UsageError
from autodropout.token_space import TokenSpace
from contracts.searcher import SearcherContract, batch_of, scored
from sequences import all_sequences, small_space


class TestRandom(SearcherContract):
    def build(self, space, seed=0):
        return RandomSearcher(space, seed=seed, batch=2)

    def rebuild(self, space, searcher, seed=0):
        settings = json.loads(json.dumps(dict(searcher.settings)))
        return make_searcher("random", space, seed=seed, trials=9, settings=settings)


class TestBiasedRandom(TestRandom):
    def build(self, space, seed=0):
        return RandomSearcher(space, seed=seed, biased=True)


@pytest.mark.parametrize("biased", [False, True])
def test_log_prob_is_exact(biased):
    searcher = RandomSearcher(small_space(), biased=biased)
    sequences = [tuple(row) for row in all_sequences(small_space()).tolist()]
    assert math.isclose(math.fsum(math.exp(searcher.log_prob(s)) for s in sequences), 1.0, rel_tol=1e-12)
    for proposal in searcher.propose(0):
        assert proposal.log_prob == searcher.log_prob(proposal.tokens)


@pytest.mark.parametrize("biased", [False, True])
def test_frequencies(biased):
    """Exact binomial bounds, 1e-6 over all 324 sequences together."""
    space, draws = small_space(), 20_000
    searcher = RandomSearcher(space, batch=draws, biased=biased)
    counts = Counter(proposal.tokens for proposal in searcher.propose(0))
    sequences = [tuple(row) for row in all_sequences(space).tolist()]
    assert set(counts) <= set(sequences)
    each = 1e-6 / len(sequences)
    for sequence in sequences:
        p = math.exp(searcher.log_prob(sequence))
        assert binom.ppf(each / 2, draws, p) <= counts[sequence] <= binom.isf(each / 2, draws, p)


def test_uniform_over_values_and_biased_to_the_prior():
    space = TokenSpace.wide(("query",))
    on, off = (1, 0, 0, 0, 0), (0, 0, 0, 0, 0)
    uniform, biased = RandomSearcher(space), RandomSearcher(space, biased=True)
    assert uniform.log_prob(off) == pytest.approx(-math.log(7))
    assert uniform.log_prob(on) == pytest.approx(-math.log(840))
    assert biased.log_prob(off) == pytest.approx(math.log(0.5))
    assert biased.log_prob(on) == pytest.approx(
        math.fsum(math.log(c.prior[t]) for c, t in zip(space.choices, on, strict=True))
    )


def test_learns_nothing():
    searcher = RandomSearcher(TokenSpace(sites=("query",)), batch=4)
    before = searcher.log_prob((1, 0, 0, 0, 0))
    searcher.learn(scored(batch_of(searcher), [0.0, 1.0, 2.0, 3.0]))
    assert searcher.log_prob((1, 0, 0, 0, 0)) == before


def test_refusals():
    for batch in (0, 1.5):
        with pytest.raises(UsageError, match=f"batch is {batch}; expected a whole number >= 1"):
            RandomSearcher(small_space(), batch=batch)
    searcher = RandomSearcher(small_space())
    with pytest.raises(LedgerError, match="is not of the searcher 'random'"):
        searcher.restore(b'{"updates": -1}')
    with pytest.raises(LedgerError, match="is damaged"):
        searcher.restore(b"\xff\xff")
