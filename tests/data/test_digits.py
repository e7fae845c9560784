import hashlib
import sys

import numpy as np
import pytest
import torch

from autodropout.data import digits
from autodropout.data.digits import NUM_CLASSES, NUM_EXAMPLES, SIDE, load_digits
from autodropout.data.splits import Examples
from autodropout.errors import DataError, UsageError

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")


def rows(examples: Examples) -> list[bytes]:
    return [row.numpy().tobytes() for row in examples.inputs.flatten(1)]


def test_sizes_types_and_range():
    splits = load_digits()
    parts = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in parts] == [300, 751, 746]
    for part in parts:
        assert part.inputs.shape == (len(part), 1, SIDE, SIDE)
        assert part.inputs.dtype == torch.float32
        assert part.labels.dtype == torch.int64
        assert part.labels.shape == (len(part),)
        assert part.inputs.min() == 0.0
        assert part.inputs.max() == 1.0


def test_the_parts_are_the_whole_and_share_nothing():
    from sklearn.datasets import load_digits as original

    bunch = original()
    splits = load_digits(100)
    parts = (splits.train, splits.validation, splits.test)
    found = sorted(
        (row, label) for part in parts for row, label in zip(rows(part), part.labels.tolist(), strict=True)
    )
    whole = (bunch.images.reshape(NUM_EXAMPLES, -1) / 16).astype(np.float32)
    assert found == sorted(
        (row.tobytes(), int(label)) for row, label in zip(whole, bunch.target, strict=True)
    )


def test_each_digit_trains_equally_often_and_the_rest_is_halved():
    splits = load_digits()
    assert splits.train.labels.bincount().tolist() == [30] * NUM_CLASSES
    difference = splits.validation.labels.bincount() - splits.test.labels.bincount()
    assert set(difference.tolist()) <= {0, 1}


def test_the_split_is_the_same_for_ever():
    splits = load_digits()
    digest = hashlib.sha256()
    for part in (splits.train, splits.validation, splits.test):
        digest.update(part.inputs.numpy().tobytes() + part.labels.numpy().tobytes())
    assert digest.hexdigest() == "1bee5ca805bf57e26e5b5b4b4de0121d89c9c9727754d586c50715af5ebb7a14"


def test_fewer_training_images_are_among_the_more():
    fewer, more = load_digits(50), load_digits(300)
    assert set(rows(fewer.train)) <= set(rows(more.train))


@pytest.mark.parametrize("num_train", [0, -10, 5, 305, 1730])
def test_a_wrong_number_of_training_images(num_train):
    with pytest.raises(
        UsageError, match=rf"num_train is {num_train}; expected a multiple of 10 from 10 to 1720"
    ):
        load_digits(num_train)


def test_the_most_training_images_leave_every_digit_in_both_other_parts():
    splits = load_digits(1720)
    assert splits.validation.labels.bincount().min() == 1
    assert splits.test.labels.bincount().min() == 1


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=r"scikit-learn.*pip install scikit-learn"):
        load_digits.__wrapped__(300)


def test_other_data_are_refused(monkeypatch):
    images, labels = digits._read()
    images = images.copy()
    images[7, 3, 3] += 1
    monkeypatch.setattr(digits, "_read", lambda: (images, labels))
    with pytest.raises(
        DataError, match=r"digits has checksum \w{12}\.\.\.; expected 87ff0c9e40dc\.\.\.: it is damaged"
    ):
        load_digits.__wrapped__(300)
