import re

import pytest
import torch

from autodropout.applying import apply, sites
from autodropout.data import digits
from autodropout.errors import DataError, UsageError
from autodropout.tasks.base import Figure, figure_of
from autodropout.tasks.registry import _ALL, TASKS, task_named
from autodropout.tasks.translation.named import TRANSLATION_TASKS

# What differs from the proxies of half the width is only how large they are.
_LARGE = re.compile(r"imagenet10-uda|imagenet-(resnet50|efficientnet-b\d)")
ALL = pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, id=name, marks=[pytest.mark.slow] if _LARGE.fullmatch(name) else [])
        for name, task in TASKS.items()
    ],
)


def model_of(task):
    """The task's model, large ones without their numbers."""
    with torch.device("cpu" if task.seconds < 60 else "meta"):
        return task.model()


def test_no_two_tasks_have_one_name():
    assert [task.name for task in _ALL] == list(TASKS)


@ALL
def test_every_task_describes_itself(task):
    assert task_named(task.name) is task
    assert TASKS[task.name] is task
    assert re.fullmatch(r"[a-z][a-z0-9-]*", task.name)
    for text in (task.summary, task.needs):
        assert text
        assert "\n" not in text
    assert task.seconds > 0
    assert len(task.space()) > 0
    assert len({baseline.name for baseline in task.baselines} | {"none"}) == len(task.baselines) + 1
    assert sites(model_of(task))
    budget = task.budget
    assert budget.trials % budget.batch == 0
    assert min(budget.trials, budget.batch, budget.confirm_seeds) >= 1
    assert 0 <= budget.confirm_top <= budget.trials


@ALL
def test_every_baseline_can_be_put_on_its_model_beside_a_policy(task):
    names = [baseline.name for baseline in task.baselines]
    assert {"augmented-dropout", "adaptive-dropout"} <= set(names)
    for baseline in task.baselines:
        model = model_of(task)
        baseline.put(model, baseline.strengths[0])
        if baseline.name in ("augmented-dropout", "adaptive-dropout"):
            apply(model, task.space().decode([1 if n > 1 else 0 for n in task.space().cardinalities]))


def test_an_unknown_task():
    with pytest.raises(UsageError) as caught:
        task_named("digit")
    assert str(caught.value) == (
        "there is no task 'digit'; did you mean 'digits'? All are listed by: autodropout tasks"
    )
    with pytest.raises(UsageError, match="there is no task 'nope'; known tasks: digits, "):
        task_named("nope")


def test_missing_data_are_said(monkeypatch):
    assert task_named("digits").missing() is None

    def gone():
        raise DataError("no data here")

    digits.load_digits.cache_clear()
    monkeypatch.setattr(digits, "_read", gone)
    assert task_named("digits").missing() == "no data here"
    digits.load_digits.cache_clear()


def test_the_digits_search_fits_into_five_minutes_of_two_cores():
    task = task_named("digits")
    runs = task.budget.trials + task.budget.confirm_top * task.budget.confirm_seeds
    assert runs * task.seconds / 2 < 300


LANGUAGE_MODELS = {"ptb-small", "pydoc-lm", "wikitext2-small", "ptb-txl", "ptb-txl-final", "wikitext2-txl"}


@ALL
def test_held_out_figures_say_which_way_is_better(task):
    figure = figure_of(task)
    if task.name in LANGUAGE_MODELS:
        assert figure == Figure(
            name="perplexity", higher_is_better=False, floor=pytest.approx(80 / task.floor)
        )
    elif task in TRANSLATION_TASKS:
        assert figure == Figure(name="bleu", higher_is_better=True, floor=0.0)
    else:
        assert figure == Figure(name=None, higher_is_better=True, floor=task.floor)
