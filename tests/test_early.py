"""experiments/early.py: how well short trainings foretell full ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import early
from autodropout.data.text import CorpusSize
from autodropout.engine.confirm import Confirmation
from autodropout.engine.run import search
from autodropout.errors import UsageError
from autodropout.tasks.text.small import PydocLm

ROOT = Path(__file__).parents[1]
SIZE = CorpusSize(vocabulary=50, train=3200, validation=400, test=400)
SHORT = PydocLm(recipe=replace(PydocLm().recipe, size=SIZE, steps=9, width=16, heads=2, measurements=1))


def test_the_noise_of_both_is_taken_out():
    rng = np.random.default_rng(1)
    worth = rng.standard_normal(4000)
    misled = 0.6 * worth + 0.8 * rng.standard_normal(4000)
    short = misled[:, None] + 0.7 * rng.standard_normal((4000, 2))
    full = worth + 0.5 * rng.standard_normal(4000)
    found = early.foretold("steps", 1 / 9, short, full, 0.5)
    assert found.true == pytest.approx(0.6, abs=0.03)
    assert found.raw < 0.5
    assert found.low < found.true < found.high


def test_it_trains_each_policy_twice_with_each_budget(tmp_path):
    for name, searcher, trials, top in (
        ("random-biased", "random-biased", 6, 0),
        ("random-1", "random", 4, 2),
    ):
        search(
            SHORT.evaluate,
            SHORT.space(),
            trials=trials,
            searcher=searcher,
            executor="inline",
            out=tmp_path / name,
            confirm=Confirmation(top=top, seeds=2),
            task=SHORT.key,
        )
    how = early.How(number=5, executor="inline")
    found, noise = early.run(SHORT, tmp_path, tmp_path / "early", how)
    assert [one.budget for one in found] == pytest.approx([1 / 9, 1 / 3] * 2)
    assert [one.way for one in found][::2] == ["steps", "steps and text"]
    assert all(-1.0 <= one.low <= one.high <= 1.0 for one in found)
    assert noise > 0.0
    facts = early.document(SHORT, found, noise, how)
    assert facts["policies"] == 5
    for name in ("steps-0.111", "steps-0.333", "steps-and-text-0.111", "steps-and-text-0.333"):
        study = early.Study.open(tmp_path / "early" / name)
        assert len(study.trials) == 10
        assert len({trial.seed for trial in study.trials}) == 10
    with pytest.raises(UsageError, match="has 6 rewards; expected 64"):
        early.run(SHORT, tmp_path, tmp_path / "early", early.How(executor="inline"))


def test_text_is_cut_with_the_steps():
    whole = SHORT.recipe
    few = early.shorter(SHORT, "steps", 1 / 3).recipe
    assert (few.steps, few.size) == (3, whole.size)
    less = early.shorter(SHORT, "steps and text", 1 / 3).recipe
    assert (less.steps, less.size.train) == (3, 1067)
    assert replace(less.size, train=whole.size.train) == whole.size
