import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from autodropout.applying import apply
from autodropout.data.text import CorpusSize, windows
from autodropout.errors import SiteError, UsageError
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks.text import language_model as module
from autodropout.tasks.text.language_model import LanguageModelRecipe
from autodropout.tasks.text.r_drop import RDrop
from autodropout.tasks.text.small import PtbSmall, PydocLm, WikiText2Small
from autodropout.tasks.text.token_baselines import branch_ends, token_baselines
from autodropout.tasks.text.xl_tasks import PTB_TXL
from contracts.language_recipe import WORDS, LanguageRecipeContract, made_up

RECIPE = LanguageModelRecipe(
    size=CorpusSize(vocabulary=20, train=400, validation=300, test=200),
    context=8,
    layers=1,
    width=16,
    heads=2,
    steps=12,
    batch_size=10,
    measurements=3,
)


TEXT = (400, 300, 200)


def corpus():
    return made_up(*TEXT)


def evaluate(policy, seed, recipe=RECIPE):
    return recipe.train(corpus(), partial(apply, policy=policy), seed)


class TestTrials(LanguageRecipeContract):
    recipe, text = RECIPE, TEXT


def test_perplexities_are_of_all_windows_of_their_own_text(monkeypatch):
    nets, original = [], module.fit
    monkeypatch.setattr(module, "fit", lambda net, *a: nets.append(net) or original(net, *a))
    monkeypatch.setattr(module, "_EVALUATED", 7)  # 37 and 24 windows: the last part is incomplete
    result = evaluate(Policy({}), 0)
    for figure, text in (
        (result.metrics["val_perplexity"], corpus().validation),
        (result.test["perplexity"], corpus().test),
    ):
        losses = [
            F.cross_entropy(nets[0](text[None, start : start + 8])[0], text[start + 1 : start + 9]).item()
            for start in range(0, len(text) - 8, 8)
        ]
        assert figure == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)


def test_policies_with_one_seed_start_alike_and_see_the_same_batches(monkeypatch):
    seen, original = [], module.fit

    def spied(net, optimiser, schedule, batches, settings):
        drawn = [next(batches) for _ in range(settings.steps)]
        seen.append(
            (torch.cat([p.flatten() for p in net.parameters()]).clone(), torch.stack([y for _, y in drawn]))
        )
        return original(net, optimiser, schedule, drawn, settings)

    monkeypatch.setattr(module, "fit", spied)
    for policy, seed in ((WORDS, 5), (Policy({}), 5), (Policy({}), 6)):
        evaluate(policy, seed)
    (weights_a, labels_a), (weights_b, labels_b), (weights_c, labels_c) = seen
    assert torch.equal(weights_a, weights_b)
    assert torch.equal(labels_a, labels_b)
    assert not torch.equal(weights_a, weights_c)
    assert not torch.equal(labels_a, labels_c)


def test_a_short_training_sees_each_token_as_often():
    whole = PtbSmall().recipe
    short = whole.shortened(1 / 9)
    assert (short.steps, short.size.train) == (44, 1000)
    assert short == replace(whole, steps=44, size=replace(whole.size, train=1000))
    least = whole.shortened(0.001)
    assert len(windows(torch.zeros(least.size.train, dtype=torch.int64), least.context).inputs) == 10
    assert whole.shortened(1.0) == whole
    assert PydocLm().shortened(1 / 9).corpus().train.shape == (1000,)


def test_it_learns():
    result = evaluate(Policy({}), 0, replace(RECIPE, steps=200, learning_rate=1e-2))
    assert 2.0 < result.metrics["val_perplexity"] < 3.0  # two words may follow each word


def test_a_model_that_learned_nothing_is_at_the_floor():
    idle = evaluate(Policy({}), 0, replace(RECIPE, learning_rate=0.0))
    assert idle.reward == pytest.approx(RECIPE.floor, rel=0.15)  # first weights are no uniform guess
    assert RECIPE.floor == 4.0


def test_a_diverging_trial_has_no_reward():
    result = evaluate(Policy({}), 0, replace(RECIPE, learning_rate=1e30, steps=40))
    assert math.isnan(result.reward)
    assert result.test == {}


def test_a_loss_beyond_all_bounds_is_an_infinite_perplexity():
    examples = windows(torch.zeros(9, dtype=torch.int64), 8)
    logits = torch.tensor([0.0, 1e4]).expand(1, 8, 2)
    assert module._perplexity_on(examples)(lambda inputs: logits) == math.inf


def test_r_drop_beside_a_policy():
    beside = evaluate(WORDS, 0, replace(RECIPE, consistency=1.0))
    assert beside.metrics["train_loss"] != evaluate(WORDS, 0).metrics["train_loss"]
    prepared = RECIPE.train(corpus(), lambda net: RDrop(weight=1.0, placed=apply(net, WORDS)), 0)
    assert prepared.metrics == beside.metrics
    with pytest.raises(UsageError, match=r"R-Drop's weight is -1.0; expected a number of at least 0"):
        replace(RECIPE, consistency=-1.0)


def test_another_vocabulary_is_refused():
    with pytest.raises(UsageError) as caught:
        evaluate(WORDS, 0, replace(RECIPE, size=replace(RECIPE.size, vocabulary=19)))
    assert str(caught.value) == (
        "the text has a vocabulary of 20, the network one of 19; give the network the text's"
    )


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("token", [20, -1])
def test_words_outside_the_vocabulary_are_found_before_training(monkeypatch, part, token):
    monkeypatch.setattr(module, "fit", None)
    text = getattr(corpus(), part).clone()
    text[7] = token
    with pytest.raises(UsageError) as caught:
        RECIPE.train(replace(corpus(), **{part: text}), lambda net: None, 0)
    assert str(caught.value) == (
        f"the {part} text has tokens from {text.min()} to {text.max()}; expected 0 to 19, the vocabulary: "
        "was it numbered with another one?"
    )


def test_a_text_without_words_is_refused(monkeypatch):
    monkeypatch.setattr(module, "fit", None)
    empty = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(UsageError, match="the validation text has no tokens"):
        RECIPE.train(replace(corpus(), validation=empty), lambda net: None, 0)


def test_a_policy_that_matches_nothing():
    with pytest.raises(SiteError, match=r"blocks\.9\.ffn"):
        evaluate(Policy({"blocks.9.ffn": TokenPattern(size=1)}), 0)


def test_the_space_has_all_roles():
    assert tuple(RECIPE.space().sites) == ROLES


@pytest.mark.parametrize("baseline", token_baselines()[:4], ids=lambda baseline: baseline.name)
def test_baselines_stand_where_they_say(baseline):
    net = LanguageModelRecipe(layers=2, width=16).model()
    placed = baseline.put(net, 0.3)
    roles = {name.rpartition(".")[2] for name in placed.modules}
    assert roles == ({"residual"} if baseline.name == "residual-words" else {"output", "ffn"})
    assert len(placed.modules) == 2 * len(roles)
    assert {module.p for module in placed.modules.values()} == {0.3}
    plain = RECIPE.train(corpus(), lambda net: None, 0)
    assert RECIPE.train(corpus(), baseline.at(0.3), 0).metrics["train_loss"] != plain.metrics["train_loss"]


@pytest.mark.parametrize("baseline", token_baselines()[4:], ids=lambda baseline: baseline.name)
def test_the_other_papers_act_on_the_last_linear_layer_of_each_branch(baseline):
    net = LanguageModelRecipe(layers=2, width=16).model()
    placed = baseline.put(net, 0.3)
    ends = ["blocks.0.output", "blocks.0.ffn.down", "blocks.1.output", "blocks.1.ffn.down"]
    assert list(placed.layers) == ends
    assert {layer.rate for layer in placed.layers.values()} == {0.3}
    plain = RECIPE.train(corpus(), lambda net: None, 0)
    handles = []
    again = RECIPE.train(corpus(), lambda net: handles.append(baseline.at(0.3)(net)), 0)
    assert again.metrics["train_loss"] != plain.metrics["train_loss"]
    if baseline.name == "adaptive-dropout":
        for layer in handles[0].layers.values():
            assert layer.observed >= 1
            assert layer.rates.std() > 0
            assert layer.rates.mean().item() == pytest.approx(0.3)


def test_a_branch_without_a_linear_layer_is_named():
    net = LanguageModelRecipe(layers=1, width=16).model()
    net.blocks[0].ffn = torch.nn.Identity()
    with pytest.raises(SiteError, match=r'site "blocks\.0\.ffn" has no linear layer inside'):
        branch_ends(net)


def test_all_small_texts_have_the_known_methods_of_large_ones():
    names = [baseline.name for baseline in PTB_TXL.baselines]
    assert {"variational-everywhere", "drop-attention", "layer-drop", "r-drop"} < set(names)
    for task in (PtbSmall(), PydocLm(), WikiText2Small()):
        assert [baseline.name for baseline in task.baselines] == names
        for baseline in task.baselines:
            baseline.put(task.model(), baseline.strengths[-1])
