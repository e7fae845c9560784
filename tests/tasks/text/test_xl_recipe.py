"""A Transformer-XL trained on a made-up text: memory, streams, figures."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from autodropout.applying import apply
from autodropout.attach import CHILD
from autodropout.errors import UsageError
from autodropout.models.memory import Memory
from autodropout.models.transformer_xl import XlSize
from autodropout.policy import ROLES, Policy
from autodropout.tasks.text import xl_recipe as module
from autodropout.tasks.text.language_baselines import Ends, language_baselines
from autodropout.tasks.text.r_drop import RDrop
from autodropout.tasks.text.xl_recipe import XlRecipe
from contracts.language_recipe import WORDS, LanguageRecipeContract, made_up

RECIPE = XlRecipe(
    size=XlSize(vocabulary=20, layers=2, heads=2, width=16, inner=24),
    segment=5,
    memory=6,
    steps=12,
    batch_size=4,
    evaluated=3,
    learning_rate=1e-3,
    measurements=3,
    device="cpu",
)
TEXT = (121, 279, 200)
BASELINES = language_baselines(Ends(embedding="embedding", final="final"))


def corpus():
    return made_up(*TEXT)


def evaluate(policy, seed, recipe=RECIPE):
    return recipe.train(corpus(), partial(apply, policy=policy), seed)


class TestTrials(LanguageRecipeContract):
    recipe, text = RECIPE, TEXT


def test_each_token_but_the_first_is_predicted_once_with_what_the_memory_holds(monkeypatch):
    nets, original = [], module.fit
    monkeypatch.setattr(module, "fit", lambda net, *a: nets.append(net) or original(net, *a))
    result = evaluate(Policy({}), 0)
    for figure, text, lengths in (
        (result.metrics["val_perplexity"], corpus().validation, (93, 93, 92)),
        (result.test["perplexity"], corpus().test, (67, 67, 65)),
    ):
        losses, start = [], 0
        for length in lengths:
            memory = Memory(6)
            for begin in range(start, start + length, 5):
                end = min(begin + 5, start + length)
                logits = nets[0](text[None, begin:end], memory)[0]
                losses += F.cross_entropy(logits, text[begin + 1 : end + 1], reduction="none").tolist()
            start += length
        assert start == len(losses) == len(text) - 1
        assert figure == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-4)


def test_perplexities_are_in_single_precision_whatever_training_has(monkeypatch):
    nets, original = [], module.fit
    monkeypatch.setattr(module, "fit", lambda net, *a: nets.append(net) or original(net, *a))
    result = evaluate(WORDS, 0, replace(RECIPE, bf16=True, steps=2, measurements=1))
    assert result.curve[-1] == RECIPE.perplexity_on(corpus().validation)(nets[0])
    assert result.test["perplexity"] == RECIPE.perplexity_on(corpus().test)(nets[0])
    assert result.metrics["train_loss"] != evaluate(WORDS, 0, replace(RECIPE, steps=2)).metrics["train_loss"]


def test_a_test_text_that_is_too_short_is_found_before_training(monkeypatch):
    monkeypatch.setattr(module, "fit", None)
    short = replace(corpus(), test=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(UsageError, match="3 tokens in 3 streams; expected"):
        RECIPE.train(short, lambda net: None, 0)


def test_training_carries_the_memory_and_empties_it_where_the_text_begins_again(monkeypatch):
    """121 tokens in 4 streams of 30: six segments of 5."""
    lengths, original = [], Memory.past

    def spied(memory, layer, x):
        state = original(memory, layer, x)
        if layer == 0 and len(x) == 4 and torch.is_grad_enabled():
            lengths.append(state.shape[1])
        return state

    monkeypatch.setattr(Memory, "past", spied)
    evaluate(Policy({}), 0, replace(RECIPE, measurements=1))
    once = lengths[: len(lengths) // 2]
    assert once == lengths[len(lengths) // 2 :]
    assert [once[i] for i in range(0, len(once), 2)] == [0, 5, 6, 6, 6, 6]


def test_it_learns_and_a_model_that_learned_nothing_is_at_the_floor():
    result = evaluate(Policy({}), 0, replace(RECIPE, steps=150, learning_rate=1e-2))
    assert 2.0 < result.metrics["val_perplexity"] < 3.5  # two words may follow each word
    idle = evaluate(Policy({}), 0, replace(RECIPE, learning_rate=0.0))
    assert idle.reward == pytest.approx(RECIPE.floor, rel=0.15)  # first weights are no uniform guess
    assert RECIPE.floor == 4.0


def test_a_diverging_trial_has_no_reward():
    result = evaluate(Policy({}), 0, replace(RECIPE, learning_rate=1e38, clip_norm=1e9, steps=40))
    assert math.isnan(result.reward)
    assert result.test == {}


def test_a_budget_is_a_fraction_of_the_steps():
    assert RECIPE.shortened(0.25) == replace(RECIPE, steps=3)
    short = evaluate(WORDS, 1, RECIPE.shortened(1 / 12))
    assert len(short.curve) == 1


def test_r_drop_beside_a_policy_and_from_a_baseline():
    plain = evaluate(WORDS, 0).metrics["train_loss"]
    beside = evaluate(WORDS, 0, replace(RECIPE, consistency=1.0))
    assert beside.metrics["train_loss"] != plain
    prepared = RECIPE.train(corpus(), lambda net: RDrop(weight=1.0, placed=apply(net, WORDS)), 0)
    assert prepared.metrics == beside.metrics


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_baselines_stand_where_they_say(baseline):
    branches, ends = {"output", "ffn"}, {"embedding", "final"}
    expected = {
        "dropout": branches | ends,
        "variational-dropout": branches | ends,
        "variational-everywhere": {"embedding", "query", "key", "value", "output", "ffn", "residual"},
        "word-dropout": {"embedding"},
        "drop-attention": {"softmax"},
        "layer-drop": {"0", "1"},
        "r-drop": branches | ends,
        "paper-finding": {"query", "key", "value", "output", "ffn"},
        "residual-words": {"residual"},
        "augmented-dropout": {"output", "down"},
        "adaptive-dropout": {"output", "down"},
    }[baseline.name]
    net = RECIPE.model()
    baseline.put(net, 0.3)
    hooked = [
        name
        for name, inner in net.named_modules()
        if any(child.startswith(CHILD) for child, _ in inner.named_children())
    ]
    assert {name.rpartition(".")[2] for name in hooked} == expected
    inside = [name for name in hooked if name.startswith("blocks")]
    assert len(inside) == (2 if baseline.name == "layer-drop" else 2 * len(expected - ends))
    plain = RECIPE.train(corpus(), lambda net: None, 0)
    trained = RECIPE.train(corpus(), baseline.at(0.3), 0)
    assert trained.metrics["train_loss"] != plain.metrics["train_loss"]
    assert math.isfinite(trained.reward)


def test_the_space_has_all_roles():
    assert tuple(RECIPE.space().sites) == ROLES


def test_another_vocabulary_is_refused():
    with pytest.raises(UsageError) as caught:
        evaluate(WORDS, 0, replace(RECIPE, size=replace(RECIPE.size, vocabulary=19)))
    assert str(caught.value) == (
        "the text has a vocabulary of 20, the network one of 19; give the network the text's"
    )


@pytest.mark.parametrize("name", ["segment", "steps", "batch_size", "evaluated"])
def test_numbers_below_one(name):
    with pytest.raises(UsageError, match=f"{name} is 0; expected at least 1"):
        replace(RECIPE, **{name: 0})


def test_a_weight_below_zero():
    with pytest.raises(UsageError, match=r"R-Drop's weight is -1.0; expected a number of at least 0"):
        replace(RECIPE, consistency=-1.0)


def test_more_streams_than_tokens():
    with pytest.raises(UsageError, match=r"121 tokens in 200 streams; expected"):
        evaluate(WORDS, 0, replace(RECIPE, batch_size=200))
