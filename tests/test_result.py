import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest

from autodropout.errors import UsageError
from autodropout.pattern import TokenPattern
from autodropout.policy import Policy
from autodropout.result import Confirmed, Result, Trial

RESULT = Result(reward=0.5, metrics={"val_loss": 1.5}, test={"accuracy": 0.25}, curve=(0.1, 0.5), seconds=2.0)
POLICY = Policy({"role:ffn": TokenPattern(size=1)})
TRIAL = Trial(
    id=1,
    kind="search",
    tokens=(1, 0),
    policy=POLICY,
    log_prob=-1.5,
    seed=7,
    state="done",
    attempt=1,
    update=0,
    result=RESULT,
    reward=0.5,
    error=None,
)
CONFIRMED = Confirmed(policy=POLICY, tokens=(1, 0), trial=1, rewards=(0.4, 0.6), reward=0.5, spread=0.1)


@pytest.mark.parametrize("record", [RESULT, TRIAL, CONFIRMED])
def test_records_are_frozen_and_survive_pickle_and_deepcopy(record):
    assert pickle.loads(pickle.dumps(record)) == record
    assert copy.deepcopy(record) == record
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.reward = 1.0
    with pytest.raises(TypeError):
        type(record)(0.5)


def test_numbers_of_any_kind_become_floats():
    result = Result(reward=np.float32(0.5), metrics={"n": 3}, curve=np.array([1, 2]), seconds=1)
    assert result == Result(reward=0.5, metrics={"n": 3.0}, curve=(1.0, 2.0), seconds=1.0)
    assert all(type(value) is float for value in (result.reward, *result.metrics.values(), *result.curve))


def test_a_tensor_of_no_dimension_is_a_number():
    torch = pytest.importorskip("torch")
    assert Result(reward=torch.tensor(0.5)).reward == 0.5


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_diverged_reward_is_kept_as_it_is(reward):
    assert math.isclose(Result(reward=reward).reward, reward) or math.isnan(Result(reward=reward).reward)


def test_later_changes_outside_do_not_reach_the_record():
    metrics = {"a": 1.0}
    result = Result(reward=0.0, metrics=metrics)
    metrics["a"] = 2.0
    assert result.metrics == {"a": 1.0}


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"reward": None}, "reward is None, which is not a number"),
        ({"reward": "0.5"}, "reward is '0.5', which is not a number"),
        ({"reward": [1.0, 2.0]}, "reward is [1.0, 2.0], which is not a number"),
        ({"reward": 1j}, "reward is 1j, which is not a number"),
        ({"reward": 10**400}, f"reward is {10**400}, which is not a number"),
        ({"metrics": {"loss": "low"}}, "metrics['loss'] is 'low', which is not a number"),
        ({"test": {"loss": None}}, "test['loss'] is None, which is not a number"),
        ({"metrics": [1.0]}, "metrics is [1.0]; expected a mapping from names to numbers"),
        ({"curve": 1.0}, "curve is 1.0; expected a sequence of numbers"),
        ({"curve": "abc"}, "curve is 'abc'; expected a sequence of numbers"),
        ({"curve": (1.0, None)}, "curve[1] is None, which is not a number"),
        ({"seconds": "3"}, "seconds is '3', which is not a number"),
        ({"seconds": -1.0}, "seconds is -1.0; expected a duration of at least 0"),
        ({"seconds": math.nan}, "seconds is nan; expected a duration of at least 0"),
    ],
)
def test_what_is_no_number_is_refused(bad, text):
    with pytest.raises(UsageError) as caught:
        Result(**{"reward": 0.5} | bad)
    assert str(caught.value) == text
