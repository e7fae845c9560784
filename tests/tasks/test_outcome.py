import math

import pytest
from torch import nn

from autodropout.result import Result
from autodropout.tasks.fit import Fitted
from autodropout.tasks.outcome import Scored, outcome
from autodropout.tasks.text.reward import perplexity_outcome, uniform_reward

NET = nn.Linear(3, 2)
METRICS = {"train_loss": 0.5, "parameters": 8.0}


def fitted(*curve, diverged=False):
    return Fitted(curve=curve, loss=0.5, diverged=diverged, stopped=False, steps=4, seconds=2.0)


def unscored():
    raise AssertionError("what diverged is not measured")


def test_a_result_has_the_tasks_figures_and_those_of_training():
    scored = Scored(reward=0.7, metrics={"val_loss": 1.5}, test={"accuracy": 0.6})
    assert outcome(fitted(0.1, 0.7), NET, lambda: scored) == Result(
        reward=0.7,
        metrics={**METRICS, "val_loss": 1.5},
        test={"accuracy": 0.6},
        curve=(0.1, 0.7),
        seconds=2.0,
    )


def test_what_diverged_is_not_scored():
    result = outcome(fitted(0.1, diverged=True), NET, unscored)
    assert math.isnan(result.reward)
    assert (result.metrics, result.test, result.curve, result.seconds) == (METRICS, {}, (0.1,), 2.0)


def test_the_reward_on_text_is_80_over_perplexity():
    result = perplexity_outcome(fitted(400.0, 200.0), NET, lambda: {"perplexity": 210.0})
    assert (result.reward, result.metrics) == (0.4, {**METRICS, "val_perplexity": 200.0})
    assert result.test == {"perplexity": 210.0}
    assert uniform_reward(200) == 0.4


@pytest.mark.parametrize("perplexity", [math.inf, math.nan])
def test_a_perplexity_beyond_all_bounds_is_a_divergence(perplexity):
    result = perplexity_outcome(fitted(400.0, perplexity), NET, unscored)
    assert math.isnan(result.reward)
    assert result.metrics == METRICS
