import math
from dataclasses import replace

import pytest
import torch

from autodropout.adapting import Adaptive
from autodropout.applied import Applied
from autodropout.applying import apply
from autodropout.baselines import Dropout, on_sites
from autodropout.data.sentences import NumberedPairs, Sentences
from autodropout.data.subwords import BEGIN, END, SubwordSettings
from autodropout.errors import UsageError
from autodropout.models.transformer_blocks import TransformerSize
from autodropout.pattern import TokenPattern
from autodropout.policy import ROLES, Policy
from autodropout.tasks.text.r_drop import RDrop, agreement
from autodropout.tasks.translation import recipe as module
from autodropout.tasks.translation.baselines import translation_baselines
from autodropout.tasks.translation.corpus import CorpusSettings, TranslationCorpus
from autodropout.tasks.translation.loss import TranslationLoss, summed_loss
from autodropout.tasks.translation.recipe import TranslationRecipe
from translators import sentences, small

RECIPE = TranslationRecipe(
    size=TransformerSize(layers=1, width=8, heads=2, hidden=16),
    corpus=CorpusSettings(subwords=SubwordSettings(size=11), longest=12),
    steps=12,
    batch_tokens=60,
    learning_rate=0.01,
    warmup=0.2,
    tokenisation="none",
    measurements=2,
    beams=2,
    device="cpu",
)


class Digits:
    """Stands in for a vocabulary: a token is a word."""

    def decode(self, rows):
        return [" ".join(map(str, row)) for row in rows]


def pairs(number, seed):
    """Sentences and the same backwards."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 8, (number,), generator=generator).tolist()
    rows = [torch.randint(3, 11, (length,), generator=generator).tolist() for length in lengths]
    return NumberedPairs(
        source=Sentences.of([[*row, END] for row in rows]),
        target=Sentences.of([[BEGIN, *reversed(row), END] for row in rows]),
    )


def corpus():
    test = pairs(20, 3)
    whole = [test.target.chosen(torch.tensor([row]))[0, 1:-1].tolist() for row in range(20)]
    return TranslationCorpus(
        train=pairs(60, 1),
        validation=pairs(20, 2),
        test=test,
        references=tuple(Digits().decode(whole)),
        subwords=Digits(),
    )


def nothing(net):
    return None


def test_a_result_follows_from_its_seed():
    first, again, other = (RECIPE.train(corpus(), nothing, seed) for seed in (1, 1, 2))
    assert (first.reward, first.curve, first.test) == (again.reward, again.curve, again.test)
    assert first.reward != other.reward
    assert first.reward == 80 / first.metrics["val_perplexity"] == 80 / first.curve[-1]
    assert RECIPE.floor == 80 / 11
    assert list(first.test) == ["bleu", "perplexity"]
    assert 0 <= first.test["bleu"] <= 100
    assert 1 < first.test["perplexity"] < 30
    assert first.metrics["parameters"] == sum(p.numel() for p in RECIPE.model().parameters())
    assert len(first.curve) == 2


def test_it_learns():
    longer = replace(RECIPE, steps=60, beams=1).train(corpus(), nothing, 1)
    assert longer.curve[-1] < 0.95 * longer.curve[0] < 0.95 * 11


def test_bleu_is_that_of_the_translations_in_their_order(monkeypatch):
    held = corpus()
    wanted = {
        tuple(held.test.source.chosen(torch.tensor([row]))[0].tolist()): list(map(int, text.split()))
        for row, text in enumerate(held.references)
    }

    def perfect(net, source, settings):
        assert (settings.beams, settings.alpha, settings.longest) == (2, 0.6, 12)
        return [wanted[tuple(token for token in row if token)] for row in source.tolist()]

    monkeypatch.setattr(module, "translate", perfect)
    assert RECIPE.bleu(RECIPE.model(), held) == pytest.approx(100.0)


def test_perplexity_is_that_of_the_sentences_one_by_one():
    held, net = pairs(15, 4), small(longest=12).eval()
    total = count = 0
    net.requires_grad_(False)
    for row in range(15):
        source, target = (side.chosen(torch.tensor([row])) for side in (held.source, held.target))
        log_p = net(source, target[:, :-1])[0].log_softmax(-1)
        total -= sum(float(log_p[place, token]) for place, token in enumerate(target[0, 1:]))
        count += target.shape[1] - 1
    found = RECIPE.perplexity_on(held)(net)
    assert found == pytest.approx(math.exp(total / count), rel=1e-5)
    assert RECIPE.perplexity_on(held)(net) == replace(RECIPE, label_smoothing=0.9).perplexity_on(held)(net)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_smoothed_and_leaves_padding_out(smoothing):
    net = small()
    source, target = sentences([5, 7, 2]), sentences([6, 3, 4], seed=2)
    total, count = 0.0, 0
    logits = net(source, target[:, :-1]).log_softmax(-1)
    for row in range(3):
        for place, token in enumerate(target[row, 1:].tolist()):
            if token:
                spread = [smoothing / 11 + (1 - smoothing) * (number == token) for number in range(11)]
                total -= sum(p * float(log_p) for p, log_p in zip(spread, logits[row, place], strict=True))
                count += 1
    loss = TranslationLoss(smoothing=smoothing)
    assert loss(net, (source, target), 0.0).item() == pytest.approx(total / count)
    if not smoothing:
        assert summed_loss(net, source, target).item() == pytest.approx(total, rel=1e-5)
    wider = torch.nn.functional.pad(target, (0, 3)), torch.nn.functional.pad(source, (0, 2))
    torch.testing.assert_close(loss(net, (wider[1], wider[0]), 0.0), loss(net, (source, target), 0.0))


def test_r_drop_adds_the_disagreement_of_two_passes():
    net = small().train()
    source, target = sentences([5, 7, 2]), sentences([6, 3, 4], seed=2)
    assert TranslationLoss.of(object(), 0.1) == TranslationLoss(smoothing=0.1)
    plain = TranslationLoss(smoothing=0.1)
    both = TranslationLoss.of(RDrop(weight=2.0), 0.1)
    alone = plain(net, (source, target), 0.0)
    torch.testing.assert_close(both(net, (source, target), 0.0), alone)  # passes agree
    on_sites(net, ["encoder.embedded"], lambda _: Dropout(0.3))
    seen = []
    net.register_forward_hook(lambda module, args, output: seen.append(output))
    loss = both(net, (source, target), 0.0)
    first, second = seen[0].chunk(2)
    labels = target[:, 1:].masked_fill(target[:, 1:] == 0, -100)
    term = agreement(first, second, labels)
    assert term > 0
    mean = torch.nn.functional.cross_entropy(
        torch.cat([first, second]).flatten(0, 1), torch.cat([labels, labels]).flatten(), label_smoothing=0.1
    )
    torch.testing.assert_close(loss, mean + 2 * term)


def test_r_drop_beside_a_policy():
    words = Policy({"role:ffn": TokenPattern(size=1, share_c=True, rate=0.3)})
    assert TranslationLoss.of(object(), 0.1, 3.0) == TranslationLoss(smoothing=0.1, weight=3.0)
    assert TranslationLoss.of(RDrop(weight=0.0), 0.1, 3.0) == TranslationLoss(smoothing=0.1)
    beside = replace(RECIPE, consistency=2.0).train(corpus(), lambda net: apply(net, words), 1)
    prepared = RECIPE.train(corpus(), lambda net: RDrop(weight=2.0, placed=apply(net, words)), 1)
    assert beside.metrics == prepared.metrics
    assert beside.metrics != RECIPE.train(corpus(), lambda net: apply(net, words), 1).metrics
    with pytest.raises(UsageError, match=r"R-Drop's weight is -1.0; expected a number of at least 0"):
        replace(RECIPE, consistency=-1.0)


def test_padding_is_kept_out_of_a_policys_masks(monkeypatch):
    seen = []

    def follow(applied, **options):
        seen.append(len(applied.layers))
        return real(applied, **options)

    real = Applied.follow
    monkeypatch.setattr(Applied, "follow", follow)
    pattern = TokenPattern(size=1, rate=0.2)
    policies = (Policy({f"role:{role}": pattern for role in ROLES}), Policy({}))
    rewards = [RECIPE.train(corpus(), lambda net, p=p: apply(net, p), 1).reward for p in policies]
    assert seen == [7 + 12]
    assert rewards[1] == RECIPE.train(corpus(), nothing, 1).reward != rewards[0]


def test_perplexities_are_in_single_precision_whatever_training_has(monkeypatch):
    nets, real = [], module.fit
    monkeypatch.setattr(module, "fit", lambda net, *a: nets.append(net) or real(net, *a))
    result = replace(RECIPE, bf16=True, steps=2, measurements=1, beams=1).train(corpus(), nothing, 1)
    assert result.curve[-1] == RECIPE.perplexity_on(corpus().validation)(nets[0])
    assert result.test["perplexity"] == RECIPE.perplexity_on(corpus().test)(nets[0])


def test_the_optimiser_is_adam_under_the_schedule(monkeypatch):
    made = []

    def fit(net, optimiser, schedule, batches, settings):
        made.append((optimiser, schedule, settings))
        return real(net, optimiser, schedule, batches, settings)

    real = module.fit
    monkeypatch.setattr(module, "fit", fit)
    RECIPE.train(corpus(), nothing, 1)
    replace(RECIPE, schedule="cosine", weight_decay=0.1, clip_norm=0.5).train(corpus(), nothing, 1)
    (first, falling, settings), (second, cosine, clipped) = made
    assert type(first) is type(second) is torch.optim.AdamW
    assert first.defaults["betas"] == (0.9, 0.98)
    assert (first.defaults["eps"], first.defaults["weight_decay"]) == (1e-9, 0.0)
    assert second.defaults["weight_decay"] == 0.1
    assert (settings.clip_norm, clipped.clip_norm, settings.device, settings.bf16) == (
        None,
        0.5,
        "cpu",
        False,
    )
    assert [falling(p) for p in (0.1, 0.2, 0.8)] == pytest.approx([0.5, 1.0, 0.5])
    assert cosine(0.2) == 1.0
    assert cosine(0.6) == pytest.approx(0.5)


def test_adaptive_dropout_is_shown_source_and_target(monkeypatch):
    shown = []

    def observe(adaptive, inputs, targets):
        shown.append((inputs, targets))
        return real(adaptive, inputs, targets)

    real = Adaptive.observe
    monkeypatch.setattr(Adaptive, "observe", observe)
    (baseline,) = [one for one in translation_baselines() if one.name == "adaptive-dropout"]
    handles = []
    replace(RECIPE, steps=2, measurements=1, beams=1).train(
        corpus(), lambda net: handles.append(baseline.at(0.3)(net)), 1
    )
    assert len(shown) == 2
    for (source, before), labels in shown:
        assert (before[:, 0] == BEGIN).all()
        assert torch.equal(before[:, 1:], labels[:, :-1])
        assert len(source) == len(labels)
    for layer in handles[0].layers.values():
        assert layer.rates.mean().item() == pytest.approx(0.3, abs=1e-4)
        assert layer.rates.std() > 0


def test_what_diverges_has_no_reward_and_is_not_translated(monkeypatch):
    monkeypatch.setattr(module, "translate", None)
    found = replace(RECIPE, learning_rate=1e30, warmup=0.01, steps=30).train(corpus(), nothing, 1)
    assert math.isnan(found.reward)
    assert found.test == {}


def test_shorter_trainings_and_the_space():
    assert RECIPE.shortened(0.5).steps == 6
    assert tuple(RECIPE.space().sites) == ROLES


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"batch_tokens": 11}, "batch_tokens is 11; expected room for the longest sentence, 12 tokens"),
        ({"warmup": 0.0}, "warmup is 0.0; expected a share of the steps, above 0 and below 1"),
        ({"warmup": 1.0}, "warmup is 1.0; expected a share of the steps, above 0 and below 1"),
        (
            {"beams": 0},
            "beams is 0, longest 12 and alpha 0.6; expected at least one beam and one token, and an alpha of "
            "at least 0",
        ),
    ],
)
def test_refuses_impossible_recipes(wrong, text):
    with pytest.raises(UsageError) as caught:
        replace(RECIPE, **wrong)
    assert str(caught.value) == text
