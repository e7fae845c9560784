"""REINFORCE without the Transformer: an independent distribution for every decision."""

import json

import torch
from scipy.stats import binomtest

from autodropout.engine.random import RandomSearcher
from autodropout.engine.searchers import make_searcher
from contracts.searcher import SearcherContract, batch_of, scored, teach
from planted import PLANTED, best_of, planted
from sequences import all_sequences, small_space


class TestCategorical(SearcherContract):
    def build(self, space, seed=0):
        return make_searcher("categorical", space, seed=seed, trials=48)

    def rebuild(self, space, searcher, seed=0):
        settings = json.loads(json.dumps(dict(searcher.settings)))
        return make_searcher("categorical", space, seed=seed, trials=9999, settings=settings)


def test_decisions_are_independent_before_and_after_learning():
    """P(r) of every sequence is the product of its live decisions' own probabilities."""
    space = small_space()
    searcher = make_searcher("categorical", space, seed=0, trials=48)
    start = searcher.controller.log_prob(all_sequences(space))
    teach(searcher, 5)
    logits = (searcher.controller.start + searcher.controller.bias).log_softmax(-1)
    for tokens, log_prob in zip(
        all_sequences(space), searcher.controller.log_prob(all_sequences(space)), strict=True
    ):
        own = sum(
            logits[place, token]
            for place, (token, live) in enumerate(zip(tokens, space.live(tokens.tolist()), strict=True))
            if live
        )
        torch.testing.assert_close(log_prob, own)
    assert not torch.allclose(start, searcher.controller.log_prob(all_sequences(space)))


def test_it_starts_from_the_starting_bias():
    space = small_space()
    biased = RandomSearcher(space, biased=True)
    proposals = make_searcher("categorical", space, seed=0, trials=48).propose(0)
    for proposal in proposals:
        assert abs(proposal.log_prob - biased.log_prob(proposal.tokens)) < 1e-5


def test_a_better_value_becomes_likelier():
    space = small_space()
    searcher = make_searcher("categorical", space, seed=0, trials=48)
    for update in range(6):
        proposals = batch_of(searcher)
        searcher.learn(scored(proposals, [float(p.tokens[0] == 2) for p in proposals], update=update))
    assert searcher.controller.bias[0].argmax() == 2


def test_beats_random_on_a_planted_policy():
    """Ten pairs of searches of 256 trials, by a sign test at .011 (9 of 10)."""
    better = 0
    for seed in range(10):
        reward = planted(seed)
        found = best_of(make_searcher("categorical", PLANTED, seed=seed, trials=256), reward, 256)
        better += found > best_of(RandomSearcher(PLANTED, seed=seed, batch=8), reward, 256)
    assert binomtest(better, 10, alternative="greater").pvalue < 0.011
