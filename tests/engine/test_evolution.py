import json
from collections import Counter

import pytest
from scipy.stats import binom

from autodropout.engine.base import Proposal
from autodropout.engine.evolution import EvolutionSearcher
from autodropout.engine.random import RandomSearcher
from autodropout.engine.searchers import make_searcher
from autodropout.errors import UsageError
from autodropout.token_space import TokenSpace
from contracts.searcher import SearcherContract, scored
from planted import PLANTED, best_of, planted


class TestEvolution(SearcherContract):
    def build(self, space, seed=0):
        return EvolutionSearcher(space, seed=seed, population=4, sample=2)

    def rebuild(self, space, searcher, seed=0):
        settings = json.loads(json.dumps(dict(searcher.settings)))
        return make_searcher("evolution", space, seed=seed, trials=9, settings=settings)


SPACE = TokenSpace.wide(("query", "ffn"))
OFF = (0,) * 10


def taught(members, **settings):
    searcher = EvolutionSearcher(SPACE, population=len(members), sample=len(members), **settings)
    for tokens, reward in members:
        searcher.learn(scored([Proposal(tokens=tokens, log_prob=None)], [reward]))
    return searcher


def children(searcher, number=400):
    return [proposal.tokens for draw in range(number) for proposal in searcher.propose(draw)]


def test_until_the_population_is_full_it_draws_from_the_starting_bias():
    searcher = EvolutionSearcher(SPACE, batch=2000, population=2001)
    off = sum(tokens[0] == 0 for tokens in children(searcher, 1))
    assert binom.ppf(5e-7, 2000, 0.5) <= off <= binom.isf(5e-7, 2000, 0.5)
    searcher.learn(scored(searcher.propose(0), [0.0] * 2000))
    off = sum(tokens[0] == 0 for tokens in children(searcher, 1))
    assert binom.ppf(5e-7, 2000, 0.5) <= off <= binom.isf(5e-7, 2000, 0.5)


def test_a_child_differs_from_the_best_of_its_sample_in_one_decision():
    best = (2, 1, 1, 0, 3, 0, 0, 0, 0, 0)
    searcher = taught([(OFF, 0.0), (best, 2.0), ((1, *OFF[1:]), 1.0)], mutations=1)
    places = set()
    for child in children(searcher):
        changed = [place for place in range(10) if child[place] != best[place]]
        places.add(changed[0])
        if 0 in changed and child[0] == 0:
            assert child == OFF
        elif 5 in changed:
            assert child[5] != 0
            assert child[:5] == best[:5]
        else:
            assert len(changed) == 1
    assert places == {0, 1, 2, 3, 4, 5}  # the decisions of the site that is off mean nothing


def test_a_site_switched_on_draws_its_decisions_from_the_starting_bias():
    searcher = taught([(OFF, 0.0), (OFF, 0.0)], mutations=1)
    drawn = [child[4] if child[0] else child[9] for child in children(searcher, 3000)]
    counts = Counter(drawn)
    for token, p in enumerate(SPACE.choices[4].prior):
        assert binom.ppf(1e-7, 3000, p) <= counts[token] <= binom.isf(1e-7, 3000, p)


def test_the_oldest_leaves_however_good_it_is():
    searcher = taught([((3, 0, 0, 0, 0, 0, 0, 0, 0, 0), 9.0), (OFF, 0.0)], mutations=1)
    assert any(child[0] == 3 and child[4] for child in children(searcher))
    searcher.learn(scored([Proposal(tokens=OFF, log_prob=None)], [0.0]))
    members = json.loads(searcher.snapshot())["population"]
    assert members == [[list(OFF), 0.0]] * 2


def test_a_snapshot_stays_small():
    searcher = EvolutionSearcher(SPACE)
    for proposal in children(EvolutionSearcher(SPACE, batch=500), 1):
        searcher.learn(scored([Proposal(tokens=proposal, log_prob=None)], [1 / 3]))
    assert len(searcher.snapshot()) < 32 * 60


def test_beats_random_on_a_planted_policy():
    """Ten pairs of searches of 512 trials: all ten by chance has probability 1e-3."""
    better = 0
    for seed in range(10):
        reward = planted(seed)
        found = best_of(make_searcher("evolution", PLANTED, seed=seed, trials=512), reward, 512)
        better += found > best_of(RandomSearcher(PLANTED, seed=seed), reward, 512)
    assert better == 10


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [("batch", 0, 1), ("population", 1, 2), ("sample", True, 1), ("mutations", 0.5, 1)],
)
def test_refuses_settings_out_of_range(name, value, least):
    with pytest.raises(UsageError, match=f"^{name} is {value}; expected a whole number >= {least}$"):
        EvolutionSearcher(SPACE, **{name: value})
