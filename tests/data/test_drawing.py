import numpy as np
import pytest

from autodropout.data.drawing import few_labels, held_out
from autodropout.errors import UsageError

LABELS = np.repeat(np.arange(10), 5000)[np.random.RandomState(1).permutation(50_000)]


def test_the_papers_split_of_cifar10():
    rest, held = held_out(LABELS, 5000)
    assert (len(rest), len(held)) == (45_000, 5000)
    assert np.array_equal(np.sort(np.concatenate([rest, held])), np.arange(50_000))
    assert np.bincount(LABELS[held]).tolist() == [500] * 10
    assert np.all(np.diff(held) > 0)
    assert np.all(np.diff(rest) > 0)


def test_it_is_drawn_once_and_for_ever():
    _, held = held_out(LABELS, 5000)
    assert held[:5].tolist() == [1, 28, 34, 37, 40]
    assert np.array_equal(held, held_out(LABELS, 5000)[1])
    assert not np.array_equal(held, held_out(LABELS, 5000, seed=1)[1])


def test_the_papers_four_thousand_labels():
    few = few_labels(LABELS, 4000, 400)
    assert (len(few.labelled), len(few.validation), len(few.unlabelled)) == (3600, 400, 50_000)
    assert not set(few.labelled) & set(few.validation)
    assert np.bincount(LABELS[few.labelled]).tolist() == [360] * 10
    assert np.bincount(LABELS[few.validation]).tolist() == [40] * 10


def test_uneven_classes_give_in_proportion_and_the_largest_remainders_first():
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    for count, expected in ((5, [3, 1, 1]), (1, [1, 0, 0]), (0, [0, 0, 0]), (10, [5, 3, 2])):
        _, held = held_out(labels, count)
        assert np.bincount(labels[held], minlength=3).tolist() == expected


@pytest.mark.parametrize("count", [-1, 11, True])
def test_a_wrong_number(count):
    with pytest.raises(
        UsageError, match=f"{count} examples are to be held out; expected a number from 0 to 10"
    ):
        held_out(np.zeros(10), count)
