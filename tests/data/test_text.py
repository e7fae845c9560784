import pytest
import torch

from autodropout.data.text import UNKNOWN, CorpusSize, numbered, windows
from autodropout.errors import DataError, UsageError

TRAIN = ["b", "a", "b", "c", "a", "b", "d", "<unk>", "<unk>", "<unk>", "<unk>"]


def sizes(vocabulary=3, train=11, validation=3, test=2):
    return CorpusSize(vocabulary=vocabulary, train=train, validation=validation, test=test)


def test_the_most_frequent_words_are_kept_and_the_rest_is_unknown():
    corpus = numbered(TRAIN, ["a", "z", "b", "b"], ["d", "a"], sizes())
    assert corpus.vocabulary == ("b", "a", UNKNOWN)
    assert corpus.train.tolist() == [0, 1, 0, 2, 1, 0, 2, 2, 2, 2, 2]
    assert corpus.validation.tolist() == [1, 2, 0]
    assert corpus.test.tolist() == [2, 1]
    assert corpus.train.dtype == torch.int64


def test_words_are_counted_in_the_whole_training_text_and_ties_go_by_the_alphabet():
    corpus = numbered(["z", "y", "a", "a"], ["z"] * 2, ["y"] * 2, sizes(3, 2, 2, 2))
    assert corpus.vocabulary == ("a", "y", UNKNOWN)
    assert corpus.train.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (sizes(train=12), "the training text has 11 tokens; expected at least 12"),
        (sizes(validation=4), "the validation text has 3 tokens; expected at least 4"),
        (sizes(test=4), "the test text has 3 tokens; expected at least 4"),
        (sizes(vocabulary=6), "the training text has 5 different words; expected at least 6"),
    ],
)
def test_refuses_a_text_that_is_too_short(size, text):
    with pytest.raises(DataError) as caught:
        numbered(TRAIN, ["a"] * 3, ["a"] * 3, size)
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["vocabulary", "train", "validation", "test"])
def test_refuses_sizes_below_two(name):
    with pytest.raises(UsageError, match=f"{name} is 1; expected at least 2"):
        sizes(**{name: 1})


def test_windows_follow_one_another_and_labels_are_what_comes_next():
    examples = windows(torch.arange(10), 4)
    assert examples.inputs.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert examples.labels.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert len(examples) == 2
    assert windows(torch.arange(9), 4).labels.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert len(windows(torch.arange(8), 4)) == 1


def test_refuses_a_text_without_a_window():
    with pytest.raises(UsageError, match=r"4 tokens make no window of 4; expected at least 5"):
        windows(torch.arange(4), 4)
