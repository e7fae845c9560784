import math

import pytest

from autodropout.engine.reinforce_settings import ReinforceSettings
from autodropout.errors import UsageError


@pytest.mark.parametrize(
    ("trials", "batch"), [(1, 4), (48, 4), (64, 4), (65, 8), (512, 8), (513, 16), (16384, 16)]
)
def test_batch_by_trials(trials, batch):
    assert ReinforceSettings.default(trials).batch == batch


def test_step_sizes_shrink_with_the_number_of_updates():
    rates = [ReinforceSettings.default(trials).learning_rate for trials in (48, 512, 16384, 65536)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0]
    steps = [ReinforceSettings.default(trials).bias_learning_rate for trials in (48, 512, 16384, 65536)]
    assert steps == sorted(steps, reverse=True)
    assert ReinforceSettings.default(16384, batch=32).learning_rate > rates[2]


def test_the_paper_prints_its_batch_and_its_equations():
    paper = ReinforceSettings.paper()
    assert paper.batch == 16
    assert paper.advantage == "ema"
    assert paper.bound is None
    assert not paper.prior
    assert not paper.bias


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch": 1}, "batch is 1; expected a whole number >= 2"),
        ({"batch": 0, "advantage": "ema"}, "batch is 0; expected a whole number >= 1"),
        ({"batch": 2.5}, r"batch is 2.5; expected a whole number >= 2"),
        ({"batch": True}, "batch is True; expected"),
        ({"advantage": "mean"}, "advantage is 'mean'; expected one of rank, standardised, ema"),
        ({"bound": 0}, "bound is 0; expected a positive number or None"),
        ({"entropy": -1}, "entropy is -1; expected a number >= 0"),
        ({"decay": 1}, "decay is 1; expected a number from 0 up to, not including, 1"),
        ({"learning_rate": math.inf}, "learning_rate is inf; expected a number >= 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan; expected a number >= 0"),
        ({"bias_learning_rate": -0.1}, "bias_learning_rate is -0.1; expected a number >= 0"),
        ({"entropy": "much"}, "entropy is 'much'; expected a number >= 0"),
        ({"layers": 0}, "layers is 0; expected a whole number >= 1"),
        ({"width": 30, "heads": 4}, "width is 30; expected a multiple of the 4 heads"),
        ({"bias": 1}, "bias is 1; expected True or False"),
    ],
)
def test_refuses_bad_settings(fields, message):
    with pytest.raises(UsageError, match=message):
        ReinforceSettings(**fields)


def test_refuses_bad_numbers_of_trials():
    for trials in (0, -5, 2.5):
        with pytest.raises(UsageError, match=f"trials is {trials}; expected a whole number >= 1"):
            ReinforceSettings.default(trials)
    with pytest.raises(UsageError, match="batch is 0; expected a whole number >= 2"):
        ReinforceSettings.default(10, batch=0)
