"""Known methods on top of a policy: R-Drop is a loss there, of the policy's own two passes."""

from dataclasses import replace
from functools import partial

import pytest

from autodropout.applying import Applied, apply
from autodropout.cli.combining import contenders
from autodropout.data.subwords import CACHE_VARIABLE
from autodropout.models.transformer_xl import XlSize
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks.text import xl_tasks as xl
from autodropout.tasks.text.small import PydocLm
from autodropout.tasks.translation.named import MULTI30K_DE_EN
from translation_toy import toy, write_toy

EVERYWHERE = Policy({f"role:{role}": TokenPattern(size=1, share_c=True, rate=0.2) for role in ROLES})
PTB_TXL = replace(xl.PTB_TXL, recipe=replace(xl.PTB_TXL.recipe, size=XlSize(layers=1)))
PYDOC = PydocLm(recipe=replace(PydocLm().recipe, steps=3, width=16, heads=2))


@pytest.fixture(params=["a language model", "translation"])
def task(request, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    if request.param == "a language model":
        return PYDOC
    write_toy(tmp_path)
    whole = toy(tmp_path)
    return replace(whole, recipe=replace(whole.recipe, beams=1, steps=3))


def on_policy(task):
    return contenders(task, EVERYWHERE, (), ("r-drop",))["policy+r-drop"]


def authors(task):
    """The weight of R-Drop's authors."""
    alone = next(baseline for baseline in task.baselines if baseline.name == "r-drop")
    return alone.put(task.model(), 0.1).weight


def test_r_drop_is_the_loss_of_the_policys_two_passes(task):
    beside = replace(task, recipe=replace(task.recipe, consistency=2 * authors(task)))
    expected = beside.train(partial(apply, policy=EVERYWHERE), 1)
    found = task.train(on_policy(task).at(0.2), 1)
    assert (found.reward, found.metrics, found.curve) == (expected.reward, expected.metrics, expected.curve)
    assert found.metrics["train_loss"] != task.evaluate(EVERYWHERE, 1).metrics["train_loss"]


@pytest.mark.parametrize("task", [PYDOC, PTB_TXL, MULTI30K_DE_EN], ids=lambda task: task.name)
def test_it_puts_no_dropout_beside_the_policys(task):
    model, plain, put = task.model(), task.model(), on_policy(task)
    apply(plain, EVERYWHERE)
    prepared = put.put(model, 0.1)
    assert prepared.placed is Applied.of(model)
    assert prepared.weight == authors(task)
    assert repr(model) == repr(plain)
    assert put.put(task.model(), put.strengths[-1]).weight == pytest.approx(7 * authors(task))
