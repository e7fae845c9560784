from itertools import islice, pairwise

import pytest
import torch

from autodropout.data import sentences as module
from autodropout.data.parallel import Pairs
from autodropout.data.sentences import NumberedPairs, PairBatches, Sentences, in_batches, numbered_pairs
from autodropout.data.subwords import BEGIN, END
from autodropout.errors import DataError, UsageError


class Letters:
    """Stands in for a vocabulary: a number per letter."""

    def encode(self, texts):
        return [[ord(letter) for letter in text] for text in texts]


def random_pairs(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (2, number), generator=generator).tolist()
    source = Sentences.of([[n + 3] * length for n, length in enumerate(lengths[0])])
    target = Sentences.of([[BEGIN, *[n + 3] * length, END] for n, length in enumerate(lengths[1])])
    return NumberedPairs(source=source, target=target)


def test_some_sentences_are_a_padded_matrix():
    held = Sentences.of([[5, 6], [7], [8, 9, 10]])
    assert len(held) == 3
    assert held.lengths.tolist() == [2, 1, 3]
    assert held.chosen(torch.tensor([1, 0])).tolist() == [[7, 0], [5, 6]]
    assert held.chosen(torch.tensor([2, 1, 2])).tolist() == [[8, 9, 10], [7, 0, 0], [8, 9, 10]]
    assert held.chosen(torch.tensor([2])).dtype == torch.int64


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_pairs_get_their_ends(monkeypatch, chunk):
    monkeypatch.setattr(module, "_CHUNK", chunk)
    found = numbered_pairs(Pairs(source=("ab", "c", "de"), target=("x", "yz", "w")), Letters())
    a, c = ord("a"), ord("c")
    assert found.source.chosen(torch.tensor([0, 1])).tolist() == [[a, a + 1, END], [c, END, 0]]
    assert found.target.chosen(torch.tensor([1])).tolist() == [[BEGIN, ord("y"), ord("z"), END]]
    assert len(found) == 3


def test_long_pairs_are_left_out():
    pairs = Pairs(source=("ab", "c", "defg"), target=("x", "xyz", "w"))
    assert numbered_pairs(pairs, Letters(), longest=5).source.lengths.tolist() == [3, 2, 5]
    assert numbered_pairs(pairs, Letters(), longest=4).source.lengths.tolist() == [3]
    with pytest.raises(DataError) as caught:
        numbered_pairs(pairs, Letters(), longest=2)
    assert str(caught.value) == (
        "none of the 3 sentence pairs has at most 2 subwords with its ends; shorten the lines, or, in "
        "Python, allow more (CorpusSettings.longest)"
    )


def test_every_pair_is_in_one_batch_and_batches_are_small():
    pairs = random_pairs(200)
    batches = in_batches(pairs, 60, torch.randperm(200))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(200))
    for batch in batches:
        assert max(pairs.source.chosen(batch).numel(), pairs.target.chosen(batch).numel()) <= 60
    targets = [pairs.target.lengths[batch] for batch in batches]
    assert all(before.max() <= after.min() for before, after in pairwise(targets))
    one = [len(batch) == 1 or pairs.target.lengths[batch].diff().min() >= 0 for batch in batches]
    assert all(one)


def test_batches_are_filled():
    pairs = NumberedPairs(source=Sentences.of([[5] * 3] * 10), target=Sentences.of([[5] * 4] * 10))
    assert [len(batch) for batch in in_batches(pairs, 16, torch.arange(10))] == [4, 4, 2]
    assert [len(batch) for batch in in_batches(pairs, 15, torch.arange(10))] == [3, 3, 3, 1]


def epoch(pairs, seed, skip=0):
    """Return the batches of an epoch as lists of sentences."""
    number = len(in_batches(pairs, 60, torch.arange(len(pairs))))
    stream = PairBatches(pairs=pairs, num_tokens=60, seed=seed)
    return [source[:, 0].tolist() for source, _ in islice(stream, skip, skip + number)]


def test_an_epoch_has_every_pair_once_in_an_order_of_its_own():
    pairs = random_pairs(200)
    first = epoch(pairs, 1)
    assert sorted(token for batch in first for token in batch) == list(range(3, 203))
    second = epoch(pairs, 1, skip=len(first))
    assert sorted(token for batch in second for token in batch) == list(range(3, 203))
    assert second != first
    lengths = [int(pairs.target.lengths[batch[0] - 3]) for batch in first]
    assert lengths != sorted(lengths)


def test_the_order_is_the_seeds():
    pairs = random_pairs(200)
    first = epoch(pairs, 1)
    torch.rand(10)
    assert epoch(pairs, 1) == first
    assert epoch(pairs, 2) != first


@pytest.mark.parametrize("step", [0, 3, 40, 95])
def test_batches_from_a_step_on_are_those_of_the_whole(step):
    """An epoch has fewer than 40 batches."""
    batches = PairBatches(pairs=random_pairs(200), num_tokens=60, seed=1)
    whole = list(islice(batches, step, step + 3))
    later = list(islice(batches.starting_at(step), 3))
    assert len(in_batches(batches.pairs, 60, torch.arange(200))) < 40
    for (source, target), (again, same) in zip(whole, later, strict=True):
        assert torch.equal(source, again)
        assert torch.equal(target, same)


def test_source_and_target_belong_together():
    for source, target in islice(PairBatches(pairs=random_pairs(50), num_tokens=60, seed=0), 20):
        assert torch.equal(source[:, 0], target[:, 1])


def test_a_sentence_over_the_limit_is_refused_before_anything_is_drawn():
    pairs = NumberedPairs(source=Sentences.of([[5] * 3, [5] * 9]), target=Sentences.of([[5] * 4] * 2))
    with pytest.raises(UsageError) as caught:
        PairBatches(pairs=pairs, num_tokens=8, seed=0)
    assert str(caught.value) == (
        "a sentence has 9 tokens with its ends; expected at most 8, as a batch has: leave it out or allow "
        "larger batches"
    )
