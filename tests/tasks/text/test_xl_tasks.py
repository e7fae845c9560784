"""The tasks on whole texts and the small WikiText-2: settings, data, one trial of a tiny network."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from autodropout.data.ptb import VARIABLE, load_ptb
from autodropout.data.text import CorpusSize
from autodropout.data.wikitext2 import load_wikitext2
from autodropout.errors import DataError, SiteError
from autodropout.models.transformer_xl import XlSize
from autodropout.pattern import ConvPattern, TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks.registry import task_named
from autodropout.tasks.text import xl_tasks
from autodropout.tasks.text.small import PtbSmall, WikiText2Small
from autodropout.tasks.text.xl_tasks import PTB_TXL, PTB_TXL_FINAL, XL_TASKS

WORDS = Policy({"role:residual": TokenPattern(size=1, share_c=True, rate=0.3)})
FOLDER = Path(os.environ.get(VARIABLE, ""))
needs_texts = pytest.mark.skipif(
    not (FOLDER / "ptb" / "ptb.train.txt").exists()
    or not (FOLDER / "wikitext-2" / "wiki.train.tokens").exists(),
    reason="AUTODROPOUT_DATA names no folder with ptb/ and wikitext-2/",
)


def test_settings_are_the_papers():
    assert [task.name for task in XL_TASKS] == ["ptb-txl", "ptb-txl-final", "wikitext2-txl"]
    for task in XL_TASKS:
        recipe = task.recipe
        assert (recipe.segment, recipe.batch_size, recipe.warmup) == (70, 16, 0.0)
        assert (recipe.size.layers, recipe.size.heads, recipe.size.width) == (16, 10, 380)
        assert (recipe.size.inner, task.key) == (900, task.name)
        assert tuple(task.space().sites) == ROLES
        assert task.floor == 80 / recipe.size.vocabulary
    assert [task.recipe.steps for task in XL_TASKS] == [160_000, 300_000, 300_000]
    assert [task.recipe.size.vocabulary for task in XL_TASKS] == [10_000, 10_000, 33_278]
    assert replace(PTB_TXL_FINAL.recipe, steps=160_000) == PTB_TXL.recipe


def test_the_small_wikitext2_is_ptb_small_on_another_text():
    ptb, wiki = PtbSmall(), WikiText2Small()
    assert (wiki.recipe, wiki.floor, wiki.key) == (ptb.recipe, ptb.floor, "wikitext2-small")
    assert wiki.space() == ptb.space()
    known = [baseline.name for baseline in wiki.baselines]
    assert known == [baseline.name for baseline in PTB_TXL.baselines]
    for baseline in wiki.baselines:
        baseline.put(wiki.model(), 0.1)


@pytest.mark.parametrize("name", ["wikitext2-small", *(task.name for task in XL_TASKS)])
def test_without_the_files_it_says_what_to_do(tmp_path, name):
    task = replace(task_named(name), data=str(tmp_path))
    text = task.missing()
    assert text.startswith(("Penn Treebank", "WikiText-2"))
    assert f" is not at {tmp_path}" in text
    assert "download" in text
    with pytest.raises(DataError) as caught:
        task.evaluate(WORDS, 0)
    assert str(caught.value) == text


def tiny(task):
    size = XlSize(vocabulary=task.recipe.size.vocabulary, layers=1, heads=2, width=8, inner=8)
    recipe = replace(task.recipe, size=size, steps=2, measurements=1, device="cpu")
    return replace(task, recipe=recipe)


@pytest.fixture
def short_texts(monkeypatch):
    """The beginnings of the texts, over 50 words."""
    size = CorpusSize(vocabulary=50, train=3000, validation=900, test=800)
    short = {name: replace(text, size=size) for name, text in xl_tasks.TEXTS.items()}
    monkeypatch.setattr(xl_tasks, "TEXTS", short)


@needs_texts
@pytest.mark.usefixtures("short_texts")
@pytest.mark.parametrize("task", XL_TASKS, ids=lambda task: task.name)
def test_a_trial(task):
    recipe = replace(task.recipe, size=replace(task.recipe.size, vocabulary=50))
    small = pickle.loads(pickle.dumps(tiny(replace(task, recipe=recipe))))
    assert small.missing() is None
    result = small.evaluate(WORDS, 1)
    for perplexity in (result.metrics["val_perplexity"], result.test["perplexity"]):
        assert perplexity == pytest.approx(50, rel=0.1)
    assert result.reward == pytest.approx(small.floor, rel=0.1)


@pytest.mark.slow
@needs_texts
def test_a_trial_on_the_whole_text():
    result = tiny(PTB_TXL).evaluate(WORDS, 1)
    assert result.test["perplexity"] == pytest.approx(10_000, rel=0.1)


@needs_texts
def test_a_trial_on_the_small_wikitext2():
    recipe = replace(WikiText2Small().recipe, steps=12, width=16, heads=2, measurements=2)
    task = WikiText2Small(recipe=recipe)
    result = task.evaluate(WORDS, 1)
    assert task.floor < result.reward < 1.0
    assert task.train(lambda net: None, 1).reward == task.evaluate(Policy({}), 1).reward != result.reward
    assert task.missing() is None


@needs_texts
def test_the_two_small_texts_differ():
    ptb, wiki = load_ptb(), load_wikitext2()
    assert len(set(ptb.vocabulary) & set(wiki.vocabulary)) < 900
    assert [len(ptb.train), len(ptb.vocabulary)] == [len(wiki.train), len(wiki.vocabulary)]


@needs_texts
def test_a_policy_of_conv_patterns_is_refused():
    with pytest.raises(SiteError) as caught:
        WikiText2Small().evaluate(Policy({"role:ffn": ConvPattern(height=2, width=2)}), 0)
    assert str(caught.value) == (
        "site \"blocks.0.ffn\" has layout NTC and takes a TokenPattern; the policy's key 'role:ffn' has a "
        "ConvPattern"
    )
