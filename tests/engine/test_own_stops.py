"""Trials that stop on their own curve: what is taught of them."""

import torch
from torch import nn

from autodropout.engine.confirm import Confirmation
from autodropout.engine.ledger_reader import LedgerReader
from autodropout.engine.run import search
from autodropout.result import Result
from autodropout.tasks.fit import FitSettings, cosine, fit
from autodropout.token_space import TokenSpace

SPACE = TokenSpace(sites=("query", "ffn"))
SLOW, FAST = (0.1, 0.2, 0.5, 0.9), (0.5, 0.6, 0.65, 0.7)
"""Validation after each quarter of a training: the slow starter is the better one in the end."""


def low_at_half_time(curve):
    return len(curve) >= 2 and curve[-1] < 0.4


def trained(curve, stop):
    """Train for a few steps with a made-up validation; the reward is what the last measurement gave."""
    values = iter(curve)
    model = nn.Linear(1, 2)
    batches = [(torch.zeros(1, 1), torch.zeros(1, dtype=torch.long))] * 4
    settings = FitSettings(steps=4, measure=lambda model: next(values), measurements=4, stop=stop)
    fitted = fit(model, torch.optim.SGD(model.parameters(), 0.1), cosine, batches, settings)
    return Result(reward=fitted.curve[-1], curve=fitted.curve)


def curve_of(policy):
    return FAST if len(policy.sites) == 2 else SLOW


def taught(out, stop):
    """What the searcher was taught, by how the policy starts."""
    study = search(
        lambda policy, seed: trained(curve_of(policy), stop),
        SPACE,
        trials=16,
        searcher="random-biased",
        batch=4,
        executor="inline",
        confirm=Confirmation(top=0),
        out=out,
    )
    with LedgerReader.open(study.out) as reader:
        scored = [one for lesson in reader.lessons(after=0) for one in lesson]
    returned = {trial.id: trial.result.reward for trial in study.trials}
    assert len(scored) == 16
    assert all(one.reward == returned[one.trial] and not one.floored for one in scored)
    return {curve_of(SPACE.decode(one.tokens)): one.reward for one in scored}


def test_the_reward_that_evaluate_returned_is_taught_as_it_is(memory_path):
    assert taught(memory_path / "stopped", low_at_half_time) == {SLOW: 0.2, FAST: 0.7}


def test_so_a_rule_that_stops_fast_starters_late_favours_them(memory_path):
    whole = taught(memory_path / "whole", None)
    stopped = taught(memory_path / "stopped", low_at_half_time)
    assert whole[SLOW] - whole[FAST] > 0.1
    assert stopped[SLOW] - stopped[FAST] < -0.4
