import json
import logging
import sys
import warnings

import pytest

from autodropout.engine.base import Proposal
from autodropout.engine.random import RandomSearcher
from autodropout.engine.searchers import make_searcher
from autodropout.engine.tpe import TpeSearcher
from autodropout.errors import UsageError
from autodropout.token_space import TokenSpace
from contracts.searcher import SearcherContract, scored
from planted import PLANTED, best_of, planted

optuna = pytest.importorskip("optuna", reason="the searcher tpe comes with Optuna")

SPACE = TokenSpace(sites=("query", "ffn"))
OFF, ON = (0,) * 10, (2, 1, 0, 1, 2, 0, 0, 0, 0, 0)


class TestTpe(SearcherContract):
    def build(self, space, seed=0):
        return TpeSearcher(space, seed=seed, startup=2)

    def rebuild(self, space, searcher, seed=0):
        settings = json.loads(json.dumps(dict(searcher.settings)))
        return make_searcher("tpe", space, seed=seed, trials=9, settings=settings)


def taught(members):
    searcher = TpeSearcher(SPACE, startup=1)
    for tokens, reward in members:
        searcher.learn(scored([Proposal(tokens=tokens, log_prob=None)], [reward]))
    return searcher


def test_it_starts_from_the_starting_bias():
    biased = RandomSearcher(SPACE, biased=True)
    for proposal in [p for draw in range(100) for p in TpeSearcher(SPACE).propose(draw)]:
        assert biased.log_prob(proposal.tokens) > -100


def test_it_proposes_more_of_what_was_good():
    trials = [(OFF, 0.0), (ON, 1.0)] * 20
    worse = [(tokens, -reward) for tokens, reward in trials]
    better, worse = (
        sum(searcher.propose(draw)[0].tokens[0] == 2 for draw in range(40))
        for searcher in (taught(trials), taught(worse))
    )
    assert better > worse + 10


def test_what_a_dead_decision_holds_is_drawn_evenly():
    searcher = taught([(OFF, 1.0)] * 200)
    filled = [trial.params["00004"] for trial in searcher._study.trials]
    assert set(filled) == set(range(6))
    assert all(trial.params["00000"] == 0 for trial in searcher._study.trials)


def test_trials_learned_after_a_proposal_count():
    searcher = taught([(OFF, 0.0)] * 2)
    searcher.propose(0)
    for _ in range(20):
        searcher.learn(scored([Proposal(tokens=ON, log_prob=None)], [1.0]))
    again = TpeSearcher(SPACE, startup=1)
    again.restore(searcher.snapshot())
    assert again.propose(0) == searcher.propose(0)


def test_it_is_quiet_and_leaves_optunas_logging_alone(capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        taught([(OFF, 0.0), (ON, 1.0)] * 3).propose(0)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == logging.INFO


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UsageError, match=r"pip install optuna"):
        make_searcher("tpe", SPACE, seed=0, trials=9)


def test_beats_random_on_a_planted_policy():
    """Seven pairs of searches of 96 trials: all seven by chance has probability .008."""
    better = 0
    for seed in range(7):
        reward = planted(seed)
        found = best_of(make_searcher("tpe", PLANTED, seed=seed, trials=96), reward, 96)
        better += found > best_of(RandomSearcher(PLANTED, seed=seed), reward, 96)
    assert better == 7


@pytest.mark.parametrize("name", ["batch", "startup", "candidates"])
def test_refuses_settings_out_of_range(name):
    with pytest.raises(UsageError, match=f"^{name} is 0; expected a whole number >= 1$"):
        TpeSearcher(SPACE, **{name: 0})
