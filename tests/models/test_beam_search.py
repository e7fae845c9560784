import itertools
import re

import pytest
import torch

from autodropout.errors import UsageError
from autodropout.models.beam_search import BeamSettings, length_penalty, padded, translate
from translators import BEGIN, END, PAD, sentences, small, taught


def settings(**changes):
    return BeamSettings(**{"begin": BEGIN, "end": END, "longest": 5} | changes)


def score(net, source, translation, alpha):
    """Log-probability over penalty, by one forward pass over the whole translation."""
    tokens = torch.tensor([[BEGIN, *translation, END]])
    logits = net(source, tokens[:, :-1])[0]
    logits[:, [PAD, BEGIN]] = -torch.inf
    total = sum(float(row.log_softmax(-1)[token]) for row, token in zip(logits, tokens[0, 1:], strict=True))
    return total / ((5 + len(translation) + 1) / 6) ** alpha


def every_translation(vocabulary, longest):
    for length in range(longest):
        yield from itertools.product(range(3, vocabulary), repeat=length)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_with_room_for_all_it_finds_the_best_of_all(alpha, seed):
    net = taught(vocabulary=6)
    source = sentences([4, 2, 5], vocabulary=6, seed=seed)
    everything = [list(one) for one in every_translation(6, 4)]
    assert len(everything) == 40
    with torch.no_grad():
        expected = [
            max(everything, key=lambda one, row=row: score(net, row[row != PAD][None], one, alpha))
            for row in source
        ]
    assert translate(net, source, settings(beams=60, alpha=alpha, longest=4)) == expected


def test_the_penalty_decides_between_short_and_long():
    net = taught(vocabulary=6)
    source = sentences([4, 2, 5, 3, 4, 5], vocabulary=6)
    lengths = [
        sum(map(len, translate(net, source, settings(beams=60, alpha=alpha, longest=4))))
        for alpha in (0.0, 1.0, 4.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def greedy(net, source, longest):
    tokens = [BEGIN]
    while len(tokens) < longest:
        logits = net(source, torch.tensor([tokens]))[0, -1]
        logits[[PAD, BEGIN]] = -torch.inf
        tokens.append(int(logits.argmax()))
        if tokens[-1] == END:
            return tokens[1:-1]
    return tokens[1:]


def test_one_beam_is_greedy():
    net = taught()
    source = sentences([4, 2, 7, 5, 3, 6])
    with torch.no_grad():
        expected = [greedy(net, row[row != PAD][None], 12) for row in source]
    found = translate(net, source, settings(beams=1, longest=12))
    assert found == expected
    assert len({len(one) for one in found}) > 1


@pytest.mark.parametrize("beams", [1, 2, 4, 7])
def test_a_batch_is_translated_as_one_by_one(beams):
    net = taught()
    source = sentences([4, 2, 7, 5, 3, 6, 7, 1])
    found = translate(net, source, settings(beams=beams, longest=12))
    alone = [translate(net, row[row != PAD][None], settings(beams=beams, longest=12))[0] for row in source]
    assert found == alone
    assert len(set(map(tuple, found))) > 3


def test_more_beams_find_no_worse():
    net = taught(vocabulary=6)
    source = sentences([4, 2, 5, 3], vocabulary=6)
    with torch.no_grad():
        totals = [
            sum(
                score(net, row[row != PAD][None], one, 0.6)
                for row, one in zip(source, translate(net, source, settings(beams=beams)), strict=True)
            )
            for beams in (1, 200)
        ]
    assert totals[1] >= totals[0]


def test_no_translation_has_a_token_that_is_none_or_is_too_long():
    net = small(spread=0.1).eval()
    found = translate(net, sentences([4, 2, 7]), settings(beams=3, longest=4, alpha=0.0))
    for one in found:
        assert len(one) <= 3
        assert not {PAD, BEGIN, END} & set(one)


def test_it_leaves_the_network_in_evaluation_mode_and_without_gradients():
    net = small()
    translate(net, sentences([4]), settings())
    assert not net.training
    assert all(parameter.grad is None for parameter in net.parameters())


def test_penalty():
    assert length_penalty(1, 0.6) == 1.0
    assert length_penalty(7, 0.0) == 1.0
    assert length_penalty(7, 2.0) == pytest.approx(4.0)


def test_padded():
    assert padded([[4, 5], [6], [7, 8, 9]], 0).tolist() == [[4, 5, 0], [6, 0, 0], [7, 8, 9]]


@pytest.mark.parametrize("wrong", [{"beams": 0}, {"longest": 0}, {"alpha": -0.1}, {"alpha": float("nan")}])
def test_refuses_impossible_settings(wrong):
    with pytest.raises(
        UsageError, match=r"expected at least one beam and one token, and an alpha of at least 0"
    ):
        settings(**wrong)


def test_refuses_translations_over_the_limit():
    text = "longest is 17; expected at most 16, the longest sequence that the network takes"
    with pytest.raises(UsageError, match=re.escape(text)):
        translate(small(), sentences([4]), settings(longest=17))


def test_says_so_where_the_network_is_no_longer_finite():
    net = small()
    net.embedding.weight.data.fill_(torch.nan)
    with pytest.raises(UsageError, match="the network's outputs are not finite"):
        translate(net, sentences([4]), settings())
