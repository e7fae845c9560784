"""The tasks on text: where theirs comes from, and that they travel."""

import os
import platform
import time
from dataclasses import replace
from pathlib import Path

import cloudpickle
import pytest
import torch

from autodropout.data.ptb import VARIABLE
from autodropout.errors import DataError
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks.registry import task_named
from autodropout.tasks.text.small import PtbSmall, PydocLm

SHORT = {"steps": 12, "width": 16, "heads": 2, "layers": 1, "measurements": 2}
PYDOC = PydocLm(recipe=replace(PydocLm().recipe, **SHORT))
PTB = PtbSmall(recipe=replace(PtbSmall().recipe, **SHORT))
WORDS = Policy({"role:residual": TokenPattern(size=1, share_c=True, rate=0.3)})
needs_ptb = pytest.mark.skipif(
    not Path(os.environ.get(VARIABLE, ""), "ptb", "ptb.train.txt").exists(),
    reason="AUTODROPOUT_DATA names no folder with ptb/",
)


@pytest.fixture(params=[pytest.param(PTB, marks=needs_ptb), PYDOC], ids=lambda task: task.name)
def task(request):
    return request.param


def test_a_trial(task):
    result = task.evaluate(WORDS, 1)
    assert task.floor < result.reward < 1.0
    assert task.train(lambda net: None, 1).reward == task.evaluate(Policy({}), 1).reward != result.reward
    assert task.missing() is None


def test_a_budget_is_a_fraction_of_steps_and_text_under_the_whole_schedule(task):
    short = task.evaluate(WORDS, 1, 0.25)
    size = replace(task.recipe.size, train=task.shortened(0.25).recipe.size.train)
    assert size.train < task.recipe.size.train
    quarter = replace(task, recipe=replace(task.recipe, steps=3, size=size)).evaluate(WORDS, 1)
    assert (short.reward, short.curve) == (quarter.reward, quarter.curve)
    assert task.evaluate(WORDS, 1, 1.0).reward == task.evaluate(WORDS, 1).reward != short.reward


def test_it_travels(task):
    evaluate = cloudpickle.loads(cloudpickle.dumps(task.evaluate))
    assert evaluate(WORDS, 1).reward == task.evaluate(WORDS, 1).reward
    assert cloudpickle.loads(cloudpickle.dumps(task)) == task


def test_both_share_one_recipe():
    ptb, pydoc = task_named("ptb-small"), task_named("pydoc-lm")
    assert replace(pydoc.recipe, size=ptb.recipe.size) == ptb.recipe
    for task in (ptb, pydoc):
        assert task.floor == 80 / 500
        assert tuple(task.space().sites) == ROLES
        assert task.model()(torch.zeros(1, 32, dtype=torch.int64)).shape == (1, 32, 500)


def test_keys():
    assert PTB.key == "ptb-small"
    assert PYDOC.key == f"pydoc-lm (Python {platform.python_version()})"
    for line in (PYDOC.summary, PYDOC.needs):
        assert platform.python_version() in line


def test_without_the_files_it_says_what_to_do(tmp_path):
    task = PtbSmall(data=str(tmp_path))
    text = task.missing()
    assert text.startswith(f"Penn Treebank is not at {tmp_path / 'ptb' / 'ptb.train.txt'}")
    with pytest.raises(DataError) as caught:
        task.evaluate(Policy({}), 0)
    assert str(caught.value) == text


@pytest.mark.slow
@needs_ptb
def test_a_trial_takes_at_most_fifteen_seconds_of_one_core():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        began = time.process_time()
        PtbSmall().evaluate(Policy({f"role:{role}": TokenPattern(size=1, rate=0.1) for role in ROLES}), 0)
        assert time.process_time() - began <= 15
    finally:
        torch.set_num_threads(before)
